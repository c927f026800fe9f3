"""The session of a sim: float64 for theory, one CPU device a core, other processes; the figure, drawn by another."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import jax

from sims.launch import cache, processes
from sims.launch.options import Launch

ROOT = Path(__file__).parent.parent.parent

_started = time.time()


def start(launch: Launch) -> None:
    """Training takes the dtype of its samples, so float64 is for theory alone."""
    jax.config.update("jax_enable_x64", True)
    cache.start()
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", launch.devices or len(os.sched_getaffinity(0)))
    if launch.distributed or launch.coordinator:
        processes.meet(launch)


def leave(folder: Path, wait: float = 60.0) -> None:
    """Of several processes the first leaves last: it holds what the others are connected to, and the chunks they read.

    Every other process leaves a mark in the record's folder; the first waits for marks younger than this session,
    `wait` seconds at most, and removes them.
    """
    others = range(1, jax.process_count())
    mark = folder / f".left-{jax.process_index()}"
    if jax.process_index() in others:
        with contextlib.suppress(OSError):
            mark.touch()
        return
    marks = [folder / f".left-{process}" for process in others]
    deadline = time.monotonic() + wait
    while not all(path.is_file() and path.stat().st_mtime > _started for path in marks) and time.monotonic() < deadline:
        time.sleep(0.1)
    if marks:
        time.sleep(1.0)  # between a mark and the end of its process
    for path in marks:
        path.unlink(missing_ok=True)


def draw(name: str, folder: Path) -> None:
    """Draw figure.png from the record alone, in a process of its own: sims know nothing of matplotlib.

    Not every sim has a figure; those with `figures/NAME.py` do.
    """
    if not (ROOT / "figures" / f"{name}.py").is_file():
        return
    command = [sys.executable, "-m", "figures.make", name, "--record", str(folder.resolve())]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        sys.exit(f"{name}: the record is whole, but its figure was not drawn:\n{done.stderr}")
    print(done.stdout.strip())
