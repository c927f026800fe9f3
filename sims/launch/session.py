"""The session of a sim: float64 for theory, one CPU device a core, other processes; the figure, drawn by another."""

import os
import subprocess
import sys
from pathlib import Path

import jax

from sims.launch import cache
from sims.launch.options import Launch

ROOT = Path(__file__).parent.parent.parent


def start(launch: Launch) -> None:
    """Training takes the dtype of its samples, so float64 is for theory alone."""
    jax.config.update("jax_enable_x64", True)
    cache.start()
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", launch.devices or len(os.sched_getaffinity(0)))
    if launch.distributed or launch.coordinator:
        jax.distributed.initialize(launch.coordinator, launch.processes, launch.process)


def draw(name: str, folder: Path) -> None:
    """Draw figure.png from the record alone, in a process of its own: sims know nothing of matplotlib.

    Not every sim has a figure; those with `figures/NAME.py` do.
    """
    if not (ROOT / "figures" / f"{name}.py").is_file():
        return
    command = [sys.executable, "-m", "figures.make", name, "--record", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        sys.exit(f"{name}: the record is whole, but its figure was not drawn:\n{done.stderr}")
    print(done.stdout.strip())
