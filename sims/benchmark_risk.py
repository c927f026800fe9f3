"""Time of the exact risk (6): value and gradient by the package's own derivative rules, beside plain autodiff.

The noise integral costs one bivariate moment per sample and pair of neurons; times are per sample·pair, with p(p−1)/2
pairs. The rivals differentiate the same closed form, Owen's T and all, by reverse-mode autodiff alone: once as it is
written, with all entries of E hhᵀ, once with each pair taken once. All take turns; medians count. Then the memory that
n = 10,000 samples need for p = 100 neurons.
"""

import dataclasses
import resource
import statistics
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.scipy.special import ndtr, owens_t
from jax.scipy.stats import norm

from dae_theory import risk
from dae_theory.model import Weights
from dae_theory.randomness import derive
from sims.launch.terminal import table


@dataclass(frozen=True)
class Config:
    """Measure the time and memory of the exact risk's value and gradient, float64."""

    samples: int = 1000
    """n."""
    dimension: int = 50
    """d."""
    width: int = 50
    """p, neurons."""
    rounds: int = 7
    """Alternating rounds; medians are reported."""
    noise_std: float = 0.3
    """σ of the noise, in the units of the data."""
    autodiff_samples: int = 1000
    """Samples of the rivals, whose reverse pass keeps every intermediate (some GiB)."""
    large_samples: int = 10_000
    """n of the memory check; 0 for none."""
    large_width: int = 100
    """p of the large case."""
    smoke: bool = False
    """A few seconds: small sizes, two rounds."""


SMOKE = {"samples": 40, "width": 8, "dimension": 8, "rounds": 2, "autodiff_samples": 20, "large_samples": 100}


def problem(samples: int, dimension: int, width: int) -> tuple[Weights, jax.Array]:
    """Random weights and samples."""
    root = jax.random.key(0)
    x = jax.random.normal(derive(root, "x"), (samples, dimension))
    first, second = (
        jax.random.normal(derive(root, name), (dimension, width)) / np.sqrt(dimension) for name in ("W1", "W2")
    )
    return Weights(second, first), x


def plain_loss(weights: Weights, x: jax.Array, noise_std: float, once: bool) -> jax.Array:
    """The data term of (6) from the formula as it is written, for generic columns, without derivative rules.

    `once` takes each pair of neurons once instead of in both orders.

    Φ₂(a, b; ρ) = ½Φ(a) + ½Φ(b) − T(a, (b−ρa)/(a√(1−ρ²))) − T(b, (a−ρb)/(b√(1−ρ²))) − ½[ab < 0]      (Owen)
    """
    mean = x @ weights.encoder
    covariance = noise_std**2 * weights.encoder.T @ weights.encoder
    std = jnp.sqrt(jnp.diagonal(covariance))
    z = mean / std[None, :]
    first = mean * ndtr(z) + std[None, :] * norm.pdf(z)
    second = (mean**2 + std[None, :] ** 2) * ndtr(z) + mean * std[None, :] * norm.pdf(z)
    i, j = np.triu_indices(weights.width, 1) if once else np.nonzero(~np.eye(weights.width, dtype=bool))
    rho = (covariance / (std[:, None] * std[None, :]))[i, j][None, :]
    a, b, root = z[:, i], z[:, j], jnp.sqrt(1 - rho**2)
    alpha, beta = (b - rho * a) / root, (a - rho * b) / root
    both = 0.5 * (ndtr(a) + ndtr(b)) - owens_t(a, alpha / a) - owens_t(b, beta / b) - 0.5 * (a * b < 0)
    own, other = norm.pdf(a) * ndtr(alpha), norm.pdf(b) * ndtr(beta)
    density = norm.pdf(a) * norm.pdf(alpha) / root
    s, t, m, n = std[i][None, :], std[j][None, :], mean[:, i], mean[:, j]
    pairs = (
        m * n * both
        + m * t * (other + rho * own)
        + n * s * (own + rho * other)
        + s * t * (rho * both - rho * (a * own + b * other) + (1 - rho**2) * density)
    )
    gram = weights.decoder.T @ weights.decoder
    energy = second @ jnp.diagonal(gram) + (2 if once else 1) * pairs @ gram[i, j]
    return jnp.mean(energy - 2 * jnp.sum((x @ weights.decoder) * first, axis=1) + jnp.sum(x**2, axis=1))


def timer(function: Any, *arguments: Any) -> Any:
    """A function that times one call (already compiled)."""
    compiled = jax.jit(function).lower(*arguments).compile()
    jax.block_until_ready(compiled(*arguments))

    def once() -> float:
        started = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        return time.perf_counter() - started

    return once


def main(config: Config) -> None:
    """Time both, compare their gradients, then measure memory."""
    if config.smoke:
        config = dataclasses.replace(config, **SMOKE)
    jax.config.update("jax_enable_x64", True)
    exact = partial(risk.expected_loss, noise_std=config.noise_std, weight_decay=0.0)
    written, halved = (partial(plain_loss, noise_std=config.noise_std, once=once) for once in (False, True))
    full = problem(config.samples, config.dimension, config.width)
    few = problem(config.autodiff_samples, config.dimension, config.width)
    difference = max(
        float(jnp.max(jnp.abs(one - other)) / jnp.max(jnp.abs(other)))
        for one, other in zip(*(jax.tree.leaves(jax.jit(jax.grad(f))(*few)) for f in (exact, written)), strict=True)
    )
    timers = {
        "value": (timer(exact, *full), config.samples),
        "value and gradient": (timer(jax.value_and_grad(exact), *full), config.samples),
        "autodiff of the formula": (timer(jax.value_and_grad(written), *few), config.autodiff_samples),
        "autodiff, each pair once": (timer(jax.value_and_grad(halved), *few), config.autodiff_samples),
    }
    seconds: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(config.rounds):
        for name, (once, _) in timers.items():
            seconds[name].append(once())
    pairs = config.width * (config.width - 1) / 2
    cost = {name: statistics.median(seconds[name]) / (pairs * n) * 1e9 for name, (_, n) in timers.items()}
    spread = {
        name: (min(seconds[name]) / (pairs * n) * 1e9, max(seconds[name]) / (pairs * n) * 1e9)
        for name, (_, n) in timers.items()
    }
    print(f"n = {config.samples}, d = {config.dimension}, p = {config.width}, float64, {jax.devices()[0].platform}")
    print(
        table(
            [
                [name, f"{cost[name]:.0f}", f"{spread[name][0]:.0f} … {spread[name][1]:.0f}", timers[name][1]]
                for name in timers
            ],
            ["", "ns per sample·pair", "least … most", "samples"],
        )
    )
    slower = [cost[name] / cost["value and gradient"] for name in list(timers)[2:]]
    print(
        f"the rules are {slower[0]:.1f} times faster than autodiff of the formula, {slower[1]:.1f} times where it takes"
        f" each pair once; gradients agree to {difference:.0e}"
    )
    if config.large_samples:
        _memory(config, exact)


def _memory(config: Config, exact: Any) -> None:
    """Peak memory of the process while it takes one value and gradient of a large problem."""
    weights, x = problem(config.large_samples, config.dimension, config.large_width)
    jax.block_until_ready((weights, x))
    program = jax.jit(jax.value_and_grad(exact)).lower(weights, x).compile()
    analysis = program.memory_analysis()
    started = time.perf_counter()
    jax.block_until_ready(program(weights, x))
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    program_gib = analysis.temp_size_in_bytes / 1024**3 if analysis is not None else float("nan")
    print(
        f"n = {config.large_samples}, p = {config.large_width}: value and gradient in {seconds:.1f} s; the program's"
        f" temporaries {program_gib:.2f} GiB, peak of the whole process (the rival included) {peak:.2f} GiB"
    )


if __name__ == "__main__":
    if sys.platform == "win32":
        sys.exit("benchmark_risk: needs a Unix system, for the peak memory of the process")
    main(tyro.cli(Config, prog="python -m sims.benchmark_risk", description=__doc__))
