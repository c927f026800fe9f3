"""Runs that are killed, terminated, interrupted, doubled, or that cannot write: nothing lost, mixed or redone unsaid.

Every run is `sims.finite_size` with two curves, forked from one process that has imported it, so that what is spent is
spent on the run. `python tests/test_reliability.py 20` kills one run at that many random moments.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dae_theory import records

ROOT = Path(__file__).parent.parent
OPTIONS = [
    *["--smoke", "--no-figure", "--devices", "1", "--chunk", "8", "--seeds", "8", "--steps", "2000"],
    *["--resamples", "2", "--ranks", "1", "--dimensions", "8", "--widths", "12", "--noise-stds", "0.2"],
]
CHUNKS = 6  # 2 curves, 3 values of n, 8 seeds; 8 members a chunk, as many as one device runs together
KEPT = "finished chunks are kept, the same command goes on from them"
NOTHING = "nothing is kept, the same command begins anew"


class Runs:
    """Runs of the sim under one folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
        told = ["-W", "ignore", "-W", "default::UserWarning"]  # spoiled chunks are told so
        command = [sys.executable, *told, str(ROOT / "tests" / "runs_by_order.py")]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)
        self.seconds = 0.0

    def run(self, out: str | Path, *, count: int = 1, more: tuple[str, ...] = (), **order) -> list[tuple[int, str]]:
        """(status, what it said) of `count` runs at once; `order` is of the first: signal, and its moment."""
        says = [str(self.folder / f"said-{i}") for i in range(count)]
        arguments = [*OPTIONS, *more, "--out", str(self.folder / out)]
        orders = [{"arguments": arguments, "says": path} for path in says]
        orders[0] |= order
        self._process.stdin.write(json.dumps(orders) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        self.seconds = answer["seconds"]
        return [(code, Path(path).read_text()) for code, path in zip(answer["codes"], says, strict=True)]

    def folder_of(self, out: str) -> Path:
        """Of the one record under `out`."""
        (found,) = (self.folder / out / "finite_size").iterdir()
        return found

    def record(self, out: str):
        """Its data."""
        return records.read(self.folder_of(out))[0]

    def chunks(self, out: str) -> list[Path]:
        """Finished ones."""
        return sorted((self.folder / out).rglob("*.npz"))

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    runs = Runs(tmp_path_factory.mktemp("runs"))
    yield runs
    runs.close()


@pytest.fixture(scope="module")
def whole(runs):
    """A run that nothing breaks; it takes `runs.usual` seconds once its program is compiled."""
    runs.run("first")
    assert runs.run("whole")[0][0] == 0
    runs.usual = runs.seconds
    return runs.record("whole")


def _partials(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.partial") if path.is_file()]


def killed(runs: Runs, whole, kills: int, seed: int) -> dict[str, int]:
    """Kill runs of one record at random moments, each going on from the last; a record that is whole is begun anew.

    Every other moment is anywhere in the time of an unbroken run; the others follow a chunk that was just finished, so
    that there are some between chunks however busy the machine is.

    Returns:
        How many kills came before any chunk, between chunks, and too late.
    """
    rng, found, out, kept = np.random.default_rng(seed), {"before": 0, "between": 0, "late": 0}, "killed-0", 0
    for kill in range(kills):
        moment = {"delay": float(rng.uniform(0, runs.usual))}
        if kill % 2 == 0:
            moment = {"after_chunks": kept + 1, "then": float(rng.uniform(0, 0.1 * runs.usual))}
        ((code, said),) = runs.run(out, signal=int(signal.SIGKILL), **moment)
        assert code in (0, -signal.SIGKILL), said
        if code == 0:
            assert runs.record(out).identical(whole)
            found["late"] += 1
            out, kept = f"killed-{kill + 1}", 0
            continue
        now = len(runs.chunks(out))
        assert now >= kept or (runs.folder_of(out) / "data.nc").is_file(), "a finished chunk was lost"
        found["between" if now else "before"] += 1
        kept = now
    assert runs.run(out)[0][0] == 0
    assert runs.record(out).identical(whole)
    return found


@pytest.mark.slow
def test_a_run_that_is_killed_at_random_moments_ends_with_the_same_bits(runs, whole):
    found = killed(runs, whole, kills=4, seed=1)
    assert found["between"] > 0, found


@pytest.mark.slow
def test_an_interruption_at_any_time_is_one_sentence_and_loses_nothing(runs, whole):
    """At the start, in the middle, and while the second chunk, the data and the manifest are written.

    Terminated and interrupted in turn: both signals have one handler.
    """
    kinds = itertools.cycle(((signal.SIGTERM, "terminated"), (signal.SIGINT, "interrupted")))
    writes = CHUNKS + 2  # and the data and the manifest
    # writes are counted anew in every run, and the chunks that are there are not written again
    moments = [{"delay": 0.1}, {"after_chunks": 1}, *({"at_write": at} for at in (2, 1, 2))]
    for moment, (number, word) in zip(moments, kinds, strict=False):
        ((code, said),) = runs.run("stopped", signal=int(number), **moment)
        if code == -number:  # before the sim took over
            assert moment == {"delay": 0.1}
            continue
        left = NOTHING if moment == {"delay": 0.1} else KEPT
        assert (code, said.strip().splitlines()[-1]) == (128 + number, f"finite_size: {word}; {left}"), said
        assert "Traceback" not in said
        assert not _partials(runs.folder / "stopped")
    left = writes - len(runs.chunks("stopped"))
    for at, (number, _) in zip((left - 1, 2), kinds, strict=False):  # the data, then the manifest behind it
        ((code, said),) = runs.run("stopped", signal=int(number), at_write=at)
        assert code == 128 + number, said
        assert not (runs.folder_of("stopped") / "manifest.json").exists()
        assert len(runs.chunks("stopped")) == CHUNKS
    assert runs.run("stopped")[0][0] == 0
    assert runs.record("stopped").identical(whole)


@pytest.mark.slow
def test_of_several_runs_of_one_record_one_makes_it_and_the_others_say_so(runs, whole):
    ended = runs.run("together", count=3)
    codes = [code for code, _ in ended]
    assert codes.count(0) >= 1
    for code, said in ended:
        assert code == 0 or "is being computed by another process" in said, said
        assert "Traceback" not in said
    assert runs.record("together").identical(whole)


@pytest.mark.slow
def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(runs, whole):
    for at in (3, 5, 1):  # the third chunk; the data, behind the four chunks that are left; the data again
        ((code, said),) = runs.run("full", at_write=at, error=28)
        assert code == 1
        assert "cannot be written; the disk is full: free some space, then run the same again" in said
        assert "Traceback" not in said
        assert not _partials(runs.folder / "full")
    assert runs.run("full")[0][0] == 0
    assert runs.record("full").identical(whole)


@pytest.mark.slow
def test_a_disk_that_really_is_full(runs, whole):
    place = runs.folder / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=36k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs a user who may mount")
    try:
        ((code, said),) = runs.run("small")
        assert (code, "the disk is full" in said, "Traceback" in said) == (1, True, False), said
        kept = [path.name for path in runs.chunks("small")]
        assert kept
        subprocess.run(["mount", "-o", "remount,size=4m", str(place)], check=True, capture_output=True)
        assert runs.run("small")[0][0] == 0
        assert runs.record("small").identical(whole)
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_names_the_option(runs):
    if os.geteuid() == 0:
        out = Path("/sys/results")  # the only kind of folder that root cannot write
    else:
        out = runs.folder / "forbidden"
        out.mkdir(mode=0o500)
    ((code, said),) = runs.run(out)
    assert code == 1
    assert f"finite_size: --out {out}: " in said
    assert "choose another folder" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_what_was_spoiled_while_nothing_ran_is_told_and_only_that_is_computed_again(runs, whole):
    """A chunk cut short and one of garbage; then data cut short beside a manifest, and manifests that are none."""
    runs.run("spoiled", signal=int(signal.SIGKILL), at_write=6)
    first, second, *rest = runs.chunks("spoiled")
    os.truncate(first, 100)
    second.write_bytes(b"garbage")
    untouched = {path: path.stat().st_mtime_ns for path in rest}
    ((code, said),) = runs.run("spoiled", signal=int(signal.SIGKILL), at_write=4)  # after two chunks and the last one
    assert code == -signal.SIGKILL
    for path in (first, second):
        assert f"{path.name}.spoiled" in said
    assert {path: path.stat().st_mtime_ns for path in rest} == untouched
    assert runs.run("spoiled")[0][0] == 0
    assert runs.record("spoiled").identical(whole)
    folder = runs.folder_of("spoiled")
    for name, content, words in (
        ("data.nc", (folder / "data.nc").read_bytes()[:200], "data.nc is damaged"),
        ("manifest.json", b"", "manifest.json is no JSON"),
        ("manifest.json", b"{}", "manifest.json lacks config"),
    ):
        (folder / name).write_bytes(content)
        ((code, said),) = runs.run("spoiled")
        assert code == 1
        assert words in said.replace("\n", " ")
        assert "--again replaces it" in said.replace("\n", " ")
        assert "Traceback" not in said
        assert (folder / name).read_bytes() == content  # not silently computed again
    assert runs.run("spoiled", more=("--again",))[0][0] == 0
    assert runs.record("spoiled").identical(whole)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        began, these = time.monotonic(), Runs(Path(place))
        these.run("first"), these.run("unbroken")
        these.usual, unbroken = these.seconds, these.record("unbroken")
        print(f"an unbroken run: {these.usual:.1f} s; {len(unbroken['n'])} values of n")
        print(killed(these, unbroken, kills=int(sys.argv[1]), seed=0), "same bits at the end")
        print(f"{time.monotonic() - began:.0f} s")
        these.close()
