"""Contestants take turns, so that a machine whose speed drifts slows all of them; the machine's own rate as one."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import binom

from dae_theory import compare

Work = Callable[[], float]  # does something once and tells how much that was
GEMM = "one product of two matrices"

Clock = Literal["wall", "processor"]
NOW: Mapping[Clock, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}


def rates(contestants: Mapping[str, Work], rounds: int, clock: Clock = "wall") -> dict[str, np.ndarray]:
    """Name -> amount of work a second in every round, (rounds,). Each has worked once before, so that all is compiled.

    Seconds of the wall's clock, or of this process on all processors: what counts where others use the machine too.

    >>> from sims.benchmarks import turns
    >>> {name: len(values) for name, values in turns.rates({"nothing": lambda: 1.0}, 3).items()}
    {'nothing': 3}
    """
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for work in contestants.values():
        work()
    for _ in range(rounds):
        for name, work in contestants.items():
            started = NOW[clock]()
            amount = work()
            found[name].append(amount / (NOW[clock]() - started))
    return {name: np.asarray(values) for name, values in found.items()}


def gemm(size: int = 2048) -> Work:
    """The machine's own rate: floating-point operations of one large float32 product."""
    a = jnp.ones((size, size), jnp.float32)
    product = jax.jit(lambda a: a @ a)

    def work() -> float:
        jax.block_until_ready(product(a))
        return 2.0 * size**3

    return work


def row(claim: str, label: str, ratios: Any, least: float | None = None) -> compare.Row:
    """The median ratio over rounds, with the 95 % interval that order statistics give the median (binomial, p = ½)."""
    ratios = np.sort(np.asarray(ratios, float))
    low, high = ends(len(ratios))
    return compare.interval(
        claim,
        label,
        statistics.median(ratios),
        ratios[low],
        ratios[high],
        least,
        relation="=" if least is None else "≥",
    )


def ends(count: int) -> tuple[int, int]:
    """Positions in a sorted sample between which the median lies with 95 %; the outermost where there are fewer than 6.

    >>> from sims.benchmarks import turns
    >>> turns.ends(5), turns.ends(9)
    ((0, 4), (1, 7))
    """
    below = int(binom.ppf(0.025, count, 0.5)) - 1
    low = max(0, below)
    return low, count - 1 - low


def machine() -> dict[str, Any]:
    """What the numbers were measured on, and how busy it was."""
    cpu = Path("/proc/cpuinfo")
    names = [line for line in cpu.read_text().splitlines() if line.startswith("model name")] if cpu.is_file() else []
    kind = names[0].split(":")[1].strip() if names else platform.processor() or platform.machine()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return {"machine": f"{kind}, {len(os.sched_getaffinity(0))} cores", "load_before": load}
