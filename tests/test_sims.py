"""Every sim runs with --smoke, writes its record, finds it again, and draws its figure where it has one."""

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dae_theory import records
from sims import launch, phase_diagram
from sims.worlds.axes import identities

ROOT = Path(__file__).parent.parent
ALIASES = {"test_loss": "population_loss"}  # names that README had
SIMS = sorted(
    path.stem for path in (ROOT / "sims").glob("*.py") if not path.stem.startswith("_") and path.stem not in ALIASES
)
# two smokes are for everyone; the others compile programs of 10 to 40 s of CPU time each, and run in CI: what they
# compute is tested in files of its own
QUICK = {"phase_diagram", "zero_columns"}


def _launched(name: str, *arguments: str) -> records.Record:
    return launch.main(importlib.import_module(f"sims.{name}").SIM, ["--smoke", *arguments])


@pytest.fixture(scope="module")
def smoke_root(tmp_path_factory):
    return tmp_path_factory.mktemp("records")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in SIMS])
def test_smoke(name, smoke_root, capsys):
    has_figure = (ROOT / "figures" / f"{name}.py").is_file()
    record = _launched(name, "--out", str(smoke_root), *([] if has_figure else ["--no-figure"]))
    assert record.finished
    assert record.manifest()["config"] == record.config
    assert str(smoke_root) not in (record.folder / "manifest.json").read_text()
    assert (record.folder / "figure.png").is_file() == has_figure
    written = (record.folder / "data.nc").stat().st_mtime_ns
    capsys.readouterr()
    _launched(name, "--out", str(smoke_root), "--no-figure")
    assert "found" in capsys.readouterr().out
    assert (record.folder / "data.nc").stat().st_mtime_ns == written


def test_the_list_of_sims_has_each_with_what_it_asks_and_imports_none():
    code = "import sys; from sims.__main__ import main; main(); assert 'jax' not in sys.modules"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = [line.split(maxsplit=1) for line in said.partition("\n\n")[0].splitlines() if line[0] != " "]
    assert [name for name, _ in listed] == SIMS
    assert ["When does a net memorize," in words for name, words in listed if name == "phase_diagram"] == [True]


@pytest.mark.parametrize("old", ALIASES)
def test_an_old_name_runs_the_same_sim(old):
    sim = importlib.import_module(f"sims.{old}").SIM
    assert sim is importlib.import_module(f"sims.{ALIASES[old]}").SIM
    assert sim.name == ALIASES[old]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--x", "n", "--y", "n"], "must be different axes"),
        (["--data", "nonsense"], "--data must be one of"),
        (["--data", "circle", "--x", "K"], "needs --data simplex"),
        (["--x-values", "4", "4"], "--x-values"),
        (["--x-values", "2.5", "4"], "--x-values must be whole numbers"),
        (["--noise-std", "-1"], "--noise-std"),
        (["--seeds", "1"], "--seeds"),
        (["--chunk", "0"], "--chunk"),
        (["--unknown", "1"], "unknown"),
    ],
)
def test_bad_options_are_refused_and_named(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        _launched("phase_diagram", "--out", str(tmp_path), *arguments)
    text = f"{stopped.value.code} {capsys.readouterr().err}"
    assert stopped.value.code
    assert message in text.lower() or message in text
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.slow
def test_a_run_killed_half_way_resumes_and_ends_with_the_same_bits(tmp_path):
    grid = ["--x-values", "2", "8", "--y-values", "8", "12"]
    options = ["--smoke", "--no-figure", "--steps", "2000", "--seeds", "6", "--chunk", "8", *grid]
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=1"}

    def command(out: str) -> list[str]:
        return [sys.executable, "-m", "sims.phase_diagram", *options, "--out", str(tmp_path / out)]

    process = subprocess.Popen(command("cut"), cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (chunks := list((tmp_path / "cut").rglob("*.npz"))) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert chunks, "no chunk was written in time"
    assert not list((tmp_path / "cut").rglob("manifest.json")), "the run ended before it could be killed"
    for out in ("cut", "whole"):
        subprocess.run(command(out), cwd=ROOT, env=environment, check=True, capture_output=True)
    cut, whole = (records.read(next((tmp_path / out).rglob("manifest.json")).parent)[0] for out in ("cut", "whole"))
    assert cut.identical(whole)


@pytest.mark.slow
def test_a_cell_does_not_depend_on_the_grid_it_stands_in(smoke_root):
    wide = _launched("phase_diagram", "--out", str(smoke_root), "--no-figure").read()
    narrow = _launched("phase_diagram", "--out", str(smoke_root), "--no-figure", "--x-values", "8", "64").read()
    for name in ("train_objective", "test_loss", "train_index"):
        np.testing.assert_allclose(narrow[name], wide[name].sel(n=[8, 64]), rtol=1e-3)


@pytest.mark.slow
def test_polished_cells_are_flatter_and_lower(smoke_root):
    """`--polish` descends on the exact objective; the sampled losses agree with the exact ones it is told in."""
    grid = ["--no-figure", "--x-values", "2", "8", "--y-values", "8", "12"]
    trained, polished = (
        _launched("phase_diagram", "--out", str(smoke_root), *grid, *more).read() for more in ([], ["--polish", "100"])
    )
    assert (polished["exact_objective"] < trained["exact_objective"]).all()
    assert float(polished["gradient_norm"].median()) < 0.1
    assert "polished on the exact objective" in phase_diagram.describe(polished)
    # 16 noisy points against the integral: the mean over all nets
    difference = (trained["train_loss"] - trained["train_exact_loss"]).values.ravel()
    assert abs(difference.mean()) < 5 * difference.std(ddof=1) / np.sqrt(difference.size)


def test_identity_separates_cells():
    at = {name: np.asarray([1.0, 1.0, 2.0]) for name in ("n", "p")}
    assert len(set(identities(at, np.asarray([0, 1, 0])))) == 3
