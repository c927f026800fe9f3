"""Options that share a run among processes and workers: what is refused, within which time, and what is submitted."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dae_theory import records
from sims import finite_size, phase_diagram
from sims.launch import cluster, main, options, processes

ROOT = Path(__file__).parent.parent
SMALL = ["--smoke", "--no-figure", "--x-values", "2", "8", "--y-values", "8", "12"]
FEW = ["--smoke", "--no-figure", "--ranks", "1", "--dimensions", "8", "--widths", "12", "--noise-stds", "0.2"]
ENVIRONMENT = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--coordinator foo --processes 2 --process 0", "--coordinator must be HOST:PORT.*got 'foo'"),
        ("--coordinator h:99999 --processes 2 --process 0", "--coordinator must be HOST:PORT"),
        ("--coordinator h:80 --process 0", "--processes must be given with --coordinator"),
        ("--coordinator h:80 --processes 0 --process 0", "--processes must be at least 1; got 0"),
        ("--coordinator h:80 --processes 2 --process 2", "--process must be from 0 to --processes − 1 = 1; got 2"),
        ("--coordinator h:80 --processes 2 --process -1", "--process must be from 0 .* got -1"),
        ("--processes 2 --process 0", "--processes goes with --coordinator HOST:PORT"),
        ("--process 0", "--process goes with --coordinator HOST:PORT"),
        ("--scheduler foo", "--scheduler must be tcp://HOST:PORT; got 'foo'"),
        ("--slurm 3", "--slurm 3 needs the program sbatch"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_computed(given, message, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no sbatch
    with pytest.raises(SystemExit, match=message):
        main(phase_diagram.SIM, [*SMALL, "--out", str(tmp_path / "out"), *given.split()])
    assert not (tmp_path / "out").exists()


def test_addresses_are_read(refused):
    assert processes.address("node7.cluster:1234") == ("node7.cluster", 1234)
    assert processes.address("[::1]:80") == ("::1", 80)
    for text in (":80", "a b:80", "host", "host:", "host:0"):
        with refused("coordinator"):
            processes.address(text)


def test_a_port_that_is_taken_or_silent_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        here = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ValueError, match=rf"--coordinator {here}: port .* cannot be used"):
            processes.meet(options.Launch(coordinator=here, processes=2, process=0))
    began = time.monotonic()
    with pytest.raises(ValueError, match=rf"--coordinator {here}: process 0 did not answer within 0.5 s"):
        processes.meet(options.Launch(coordinator=here, processes=2, process=1, patience=0.5))
    assert time.monotonic() - began < 6


def _started(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _free() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize("who", [0, 1])
def test_processes_that_do_not_meet_end_with_a_sentence(who, tmp_path):
    """Process 0 alone; process 1 at a port where something else listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = _free() if who == 0 else other.getsockname()[1]
        there = ["--coordinator", f"127.0.0.1:{port}", "--processes", "2", "--process", str(who), "--patience", "4"]
        began = time.monotonic()
        ended = _started("-m", "sims.phase_diagram", *SMALL, "--out", str(tmp_path), *there)
        errors = ended.communicate(timeout=120)[1]
    assert ended.returncode == 1
    assert f"--coordinator 127.0.0.1:{port}: not all processes were there within 4 s" in errors.splitlines()[-1]
    assert time.monotonic() - began < 90
    assert not list(tmp_path.iterdir())


@pytest.fixture
def scheduler():
    """A scheduler and one worker of it, started by hand on this machine."""
    pytest.importorskip("distributed")
    address = f"tcp://127.0.0.1:{_free()}"
    port = address.rpartition(":")[2]
    quiet = ["--no-dashboard"]
    started = [_started("-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", port, *quiet)]
    started.append(_started("-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny", *quiet))
    yield address
    for process in started:
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.slow
def test_workers_of_a_running_scheduler_give_the_same_record(scheduler, tmp_path):
    process = _started("-m", "sims.finite_size", *FEW, "--out", str(tmp_path / "shared"), "--scheduler", scheduler)
    alone = main(finite_size.SIM, [*FEW, "--out", str(tmp_path / "alone")]).read()
    errors = process.communicate(timeout=300)[1]
    assert process.returncode == 0, errors
    shared = records.read(next((tmp_path / "shared").rglob("manifest.json")).parent)[0]
    assert set(shared.data_vars) == set(alone.data_vars)
    np.testing.assert_allclose(shared["index"], alone["index"], rtol=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_scheduler_that_does_not_answer_or_has_no_worker_is_named():
    distributed = pytest.importorskip("distributed")
    nobody = options.Launch(scheduler=f"tcp://127.0.0.1:{_free()}")
    with pytest.raises(OSError, match=rf"--scheduler {nobody.scheduler} did not answer within 10 s"):
        cluster.executor(nobody).__enter__()
    with distributed.LocalCluster(n_workers=0, dashboard_address=None) as empty:
        launch = options.Launch(scheduler=empty.scheduler_address, patience=1.0)
        with pytest.raises(OSError, match="had no worker within --patience 1 s"):
            cluster.executor(launch).__enter__()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_slurm_is_given_holds_this_python_and_the_settings(refused):
    dask = pytest.importorskip("dask")
    pytest.importorskip("dask_jobqueue")
    nothing = {"jobqueue.slurm.cores": None, "jobqueue.slurm.memory": None}
    with dask.config.set(nothing), pytest.raises(ValueError, match=r"--slurm needs jobqueue: slurm: cores: in"):
        cluster.slurm_cluster()
    settings = {"cores": 3, "memory": "5GB", "walltime": "02:30:00", "job_extra_directives": ["--partition=long"]}
    with (
        dask.config.set({f"jobqueue.slurm.{name}": value for name, value in settings.items()}),
        cluster.slurm_cluster() as submitted,
    ):
        script = submitted.job_script()
    assert f"{sys.executable} -m distributed.cli.dask_worker tcp://" in script
    for line in ("--partition=long", "--cpus-per-task=3", "--mem=5G", "-t 02:30:00"):
        assert f"#SBATCH {line}" in script
