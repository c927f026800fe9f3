"""Several processes on this machine that meet in one folder: the same bits as one; one late, one killed."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PROGRAM = """
import json, os, pathlib, signal, sys, time
import jax
from sims.launch import options, session
port, count, process, folder, fate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
launch = options.Launch(coordinator=f"127.0.0.1:{port}", processes=count, process=process, devices=1, patience=20.0)
session.start(launch if count > 1 else options.Launch(devices=1))
import jax.numpy as jnp, numpy as np
from dae_theory import ensemble, records

def member(point, shared):
    return {"sine": jnp.sin(point * shared), "index": point.astype(int)}

def progress(done):
    if done and process == 1 and fate == "killed":
        os.kill(os.getpid(), signal.SIGKILL)

if process == 1 and fate == "late":
    jax.devices()  # processes meet once, here
    time.sleep(3)
options = {"chunk": 8, "store": records.ChunkStore(folder), "progress": progress, "patience": launch.patience}
result = ensemble.run(member, np.arange(70.0), np.float64(0.3), **options)
print(json.dumps({name: np.asarray(value).tolist() for name, value in result.items()}))
session.leave(pathlib.Path(folder))
"""


def _results(count: int, folder: Path, fate: str) -> list[tuple[int, str, str]]:
    """(exit code, output, errors) of every process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(port), str(count), str(i), str(folder), fate],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(count)
    ]
    try:
        ended = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(processes, ended, strict=True)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return json.loads(_results(1, tmp_path_factory.mktemp("alone"), "well")[0][1])


@pytest.mark.slow
@pytest.mark.parametrize(("count", "fate"), [(2, "well"), (2, "late"), (3, "well")])
def test_processes_share_the_work_and_lose_no_member(alone, tmp_path, count, fate):
    for code, output, errors in _results(count, tmp_path, fate):
        assert code == 0, errors
        assert json.loads(output) == alone


@pytest.mark.slow
def test_a_killed_process_ends_the_others_with_a_sentence_and_the_same_command_goes_on(alone, tmp_path):
    survivor, killed = _results(2, tmp_path, "killed")
    assert killed[0] == -signal.SIGKILL
    assert survivor[0] == 1
    assert "members 24:32, 40:48, 56:64 of processes [1] did not appear in the store for 20 s" in survivor[2]
    for code, output, errors in _results(2, tmp_path, "well"):
        assert code == 0, errors
        assert json.loads(output) == alone
