"""The exact objective (6): value and gradient by the package's rules, beside plain autodiff and beside Monte Carlo.

The noise integral costs one bivariate moment per sample and pair of neurons, so times are per sample·pair with p(p−1)/2
pairs. The rivals differentiate the same closed form, Owen's T and all, by reverse-mode autodiff: as it is written, with
all entries of E hhᵀ, and with each pair taken once. Monte Carlo is charged the time in which its standard error falls
to a thousandth of the value; the closed form then still has ten digits more.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.scipy.special import ndtr, owens_t
from jax.scipy.stats import norm

from dae_theory import compare, risk
from dae_theory.model import Weights
from dae_theory.randomness import derive
from sims.benchmarks import turns
from sims.launch.terminal import table

VALUE, GRADIENT = "value", "value and gradient"
WRITTEN, ONCE = "autodiff of the formula", "autodiff, each pair once"
SAMPLED = "Monte Carlo, value to 1e-3"
ACCURACY = 1e-3
NOISE = 0.3
PLAIN = {"noise_std": NOISE, "weight_decay": 0.0}


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
    both = 0.5 * (ndtr(a) + ndtr(b)) - owens_t(a, alpha / a) - owens_t(b, beta / b) - jnp.where(a * b < 0, 0.5, 0.0)
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


def program(function: Any, *arguments: Any) -> tuple[Any, list[jax.Array]]:
    """The compiled function of the arguments' arrays, and these: records are made of arrays, never of shapes."""
    leaves, structure = jax.tree.flatten(arguments)

    def plain(*leaves: jax.Array) -> list[jax.Array]:
        return jax.tree.leaves(function(*jax.tree.unflatten(structure, leaves)))

    return jax.jit(plain).lower(*leaves).compile(), leaves


def work(function: Any, *arguments: Any, amount: float = 1.0) -> turns.Work:
    """A contestant that calls a compiled function."""
    compiled, leaves = program(function, *arguments)

    def once() -> float:
        jax.block_until_ready(compiled(*leaves))
        return amount

    return once


def measure(smoke: bool, rounds: int, clock: turns.Clock) -> xr.Dataset:
    """Nanoseconds per sample·pair of every contestant and round, the gradients' difference, and memory."""
    samples, dimension, width, draws = (40, 8, 8, 64) if smoke else (1000, 50, 50, 1000)
    weights, x = problem(samples, dimension, width)
    exact = partial(risk.expected_loss, **PLAIN)
    written, halved = (partial(plain_loss, noise_std=NOISE, once=once) for once in (False, True))
    one, other = (jax.tree.leaves(jax.jit(jax.grad(function))(weights, x)) for function in (exact, written))
    difference = max(float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b))) for a, b in zip(one, other, strict=True))
    sampled = partial(risk.sampled_loss, jax.random.key(1), draws=draws, **PLAIN)
    found = jax.jit(sampled)(weights, x)
    # the draws that the accuracy asks for, in units of those that one call makes
    calls = float((found.sem / (ACCURACY * found.mean)) ** 2)
    pairs = width * (width - 1) / 2 * samples
    contestants = {
        VALUE: work(exact, weights, x, amount=pairs),
        GRADIENT: work(jax.value_and_grad(exact), weights, x, amount=pairs),
        WRITTEN: work(jax.value_and_grad(written), weights, x, amount=pairs),
        ONCE: work(jax.value_and_grad(halved), weights, x, amount=pairs),
        SAMPLED: work(sampled, weights, x, amount=pairs / calls),
    }
    rates = turns.rates(contestants, rounds, clock)
    large = problem(100, 8, 8) if smoke else problem(10_000, 50, 100)
    analysis = program(jax.value_and_grad(exact), *large)[0].memory_analysis()
    return xr.Dataset(
        {
            "objective_nanoseconds": (("way", "round"), [1e9 / rates[name] for name in contestants]),
            "objective_difference": difference,
            "objective_gib": float("nan") if analysis is None else analysis.temp_size_in_bytes / 1024**3,
        },
        {"way": list(contestants), "round": np.arange(rounds)},
    )


def judge(data: xr.Dataset) -> list[compare.Row]:
    """Ratios round by round; gradients agree."""
    time = data["objective_nanoseconds"]
    own = time.sel(way=GRADIENT).values
    rows = [
        turns.row(f"{name}: time over that of the rules", "(6), value and gradient", time.sel(way=name).values / own)
        for name in (WRITTEN, ONCE)
    ]
    ratio = time.sel(way=SAMPLED).values / time.sel(way=VALUE).values
    rows.append(turns.row(f"{SAMPLED}: time over that of the closed form", "(6), value", ratio))
    difference = float(data["objective_difference"])
    rows.append(
        compare.number("gradients of rules and autodiff, largest difference", "(6)", difference, 0.0, tolerance=1e-9)
    )
    gib = float(data["objective_gib"])
    return [
        *rows,
        compare.number("memory of value and gradient, n = 10,000, p = 100, GiB", "(6)", gib, 4.0, relation="≤"),
    ]


def describe(data: xr.Dataset) -> str:
    """Medians and ranges."""
    time = data["objective_nanoseconds"]
    rows = []
    for name in data["way"].values:
        at = time.sel(way=name).values
        rows.append([name, f"{np.median(at):.0f}", f"{at.min():.0f} … {at.max():.0f}"])
    return table(rows, ["exact objective, float64", "ns per sample·pair", "least … most"])
