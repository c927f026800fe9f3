"""How sims are run: the cache of compiled programs, workers, one run at a time, what is damaged or in the way."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray as xr

from dae_theory import compare, records
from sims import phase_diagram
from sims.launch import Sim, cache, cluster, main, options, say

ROOT = Path(__file__).parent.parent
SMALL = ["--smoke", "--no-figure", "--x-values", "2", "8", "--y-values", "8", "12"]


def _phase(out: Path, *more: str) -> records.Record:
    return main(phase_diagram.SIM, [*SMALL, "--out", str(out), *more])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return _phase(tmp_path_factory.mktemp("finished"))


@pytest.mark.slow
def test_a_damaged_record_ends_in_a_sentence_and_again_replaces_it(finished, tmp_path, capsys):
    root = finished.root
    whole = finished.read()
    os.truncate(finished.folder / "data.nc", 100)
    with pytest.raises(SystemExit, match=r"data\.nc is damaged .*--again replaces it"):
        _phase(root)
    (finished.folder / "manifest.json").write_text("{}")
    with pytest.raises(SystemExit, match=r"manifest\.json lacks .*--again replaces it"):
        _phase(root)
    stale = finished.chunks("0")
    stale.save(0, 1, [np.zeros(1)])  # left by an interrupted run; --again does not go on from it
    _phase(root, "--again")
    assert finished.read().identical(whole)
    assert not finished.manifest()["resumed"]


def test_what_another_run_holds_or_what_cannot_be_written_ends_in_a_sentence(finished, tmp_path):
    with finished.lock(), pytest.raises(SystemExit, match="computed by another process"):
        _phase(finished.root, "--again")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SystemExit, match="cannot be written"):
        _phase(tmp_path / "file")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--workers", "0"], "--workers must be at least 1"),
        (["--slurm", "0"], "--slurm must be at least 1"),
        (["--workers", "2", "--scheduler", "tcp://localhost:1"], "--workers excludes --scheduler"),
        (["--slurm", "2", "--distributed"], "--slurm excludes --distributed"),
    ],
)
def test_options_that_exclude_each_other(given, message, tmp_path):
    with pytest.raises(SystemExit, match=message):
        _phase(tmp_path, *given)


def test_the_cache_is_kept_where_it_can_be_and_missed_where_not(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jax.config, "update", lambda name, value: told.__setitem__(name, value))
    told = {}
    assert cache.start(tmp_path / "elsewhere"), "JAX_COMPILATION_CACHE_DIR of the session rules"
    assert told == {}
    monkeypatch.setattr(type(jax.config), "jax_compilation_cache_dir", None, raising=False)
    (tmp_path / "file").write_text("in the way")
    assert not cache.start(tmp_path / "file" / "below")
    assert told == {}
    assert cache.start(tmp_path / "kept")
    assert told["jax_compilation_cache_dir"] == str(tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []


def test_the_cache_prints_its_place_and_is_cleared(tmp_path):
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "program").write_bytes(bytes(2**20))
    for more, size in (([], "1 MiB"), (["--clear"], "0 MiB")):
        command = [sys.executable, "-m", "sims.launch.cache", *more]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == f"{tmp_path / 'cache'}  {size}"


def test_without_options_there_are_no_workers():
    with cluster.executor(options.Launch()) as executor:
        assert executor is None


@pytest.mark.slow
def test_workers_of_this_machine_give_the_same_record(finished, tmp_path):
    pytest.importorskip("distributed")
    environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "sims.phase_diagram", *SMALL, "--out", str(tmp_path), "--workers", "2"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    shared = records.read(next(tmp_path.rglob("manifest.json")).parent)[0]
    alone = finished.read()
    assert set(shared.data_vars) == set(alone.data_vars)
    for name in ("train_objective", "test_loss", "train_index"):
        np.testing.assert_allclose(shared[name], alone[name], rtol=1e-3)


def test_a_row_that_nothing_was_measured_for_says_so_in_a_sentence():
    rows = [
        compare.interval("a", "e", np.nan, np.nan, np.nan, unknown="no run gets there"),
        compare.interval("b", "e", 1.5, np.nan, np.nan, 1.0, unknown="4 of 56 runs cross"),
    ]
    sim = Sim(object, lambda _config, _run: xr.Dataset(), lambda _data: rows, {})
    said = say(sim, compare.keep(xr.Dataset(), rows))
    assert "e: not measured: no run gets there" in said
    assert "e: predicted 1, measured 1.5, undecided: 4 of 56 runs cross" in said
