"""Training: the ensemble beside a plain PyTorch loop and beside `torch.func.vmap` over the same nets.

Untied nets, full batch, fresh noise every step, Adam, float32. PyTorch is optional; its loop is measured with one
thread and with all, and the better median counts.
"""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

from dae_theory import compare, ensemble
from dae_theory.randomness import derive
from dae_theory.training import Settings, train
from sims.benchmarks import turns
from sims.launch.terminal import table

LOOP, VMAP = "PyTorch loop", "torch.func.vmap"
THREEFRY, HASHED, COMMON = "ensemble, threefry", "ensemble, hashed", "ensemble, hashed and common noise"
DESCENT = "ensemble, common noise and no Adam"  # what is left beside the products
DECAY, NOISE, RATE = 1e-3, 0.2, 3e-3


@dataclass(frozen=True)
class Size:
    """Nets of one size, how many are trained for how long in a round, and how many run together on a CPU device."""

    samples: int
    dimension: int
    width: int
    members: int
    steps: int
    group: int = 8

    @property
    def name(self) -> str:
        """n/d/p."""
        return f"{self.samples}/{self.dimension}/{self.width}"

    @property
    def flops(self) -> float:
        """Of the matrix products of a step: y W₁ and h W₂ᵀ forward; backward two for W₂ and one for W₁."""
        return 5.0 * 2 * self.samples * self.dimension * self.width


SIZES = (
    Size(128, 64, 64, 64, 300),
    Size(256, 1024, 100, 16, 20, group=1),  # one net of these and its batch fill a core's cache
    Size(16, 16, 64, 512, 200),
)
SMALL = (Size(16, 8, 8, 16, 20),)
TARGETS = {  # size -> (contestant, of what, least ratio)
    "128/64/64": ((HASHED, turns.GEMM, 0.6), (COMMON, turns.GEMM, 0.7), (HASHED, LOOP, 12.0), (HASHED, VMAP, 2.5)),
    "256/1024/100": ((HASHED, turns.GEMM, 0.75),),
}


def by_ensemble(size: Size, *, hashed: bool, common: bool, optimizer: Any = optax.adam) -> turns.Work:
    """Train all members once."""
    settings = Settings(
        steps=size.steps,
        width=size.width,
        weight_decay=DECAY,
        noise_std=NOISE,
        learning_rate=RATE,
        hashed_noise=hashed,
        optimizer=optimizer,
    )
    x = jax.random.normal(jax.random.key(0), (size.samples, size.dimension), jnp.float32)
    shared = jax.random.key(2) if common else None

    def member(identity, x):
        return train(derive(jax.random.key(1), "member", identity), x, settings, noise_key=shared).weights

    program = ensemble.lift(member, ensemble.member_mesh(), size.group if jax.default_backend() == "cpu" else None)
    members = jnp.arange(size.members)

    def work() -> float:
        jax.block_until_ready(program(members, x))
        return size.flops * size.steps * size.members

    return work


def by_torch_loop(size: Size, threads: int) -> turns.Work:
    """Train a few single nets one after the other, as a plain PyTorch script does."""
    import torch

    x, models = _torch_samples(size), max(1, size.members // 16)

    def work() -> float:
        torch.set_num_threads(threads)
        for _ in range(models):
            shape = size.dimension, size.width
            encoder, decoder = (
                (0.1 * torch.randn(shape) / size.dimension**0.5).requires_grad_() for _ in ("encoder", "decoder")
            )
            optimizer = torch.optim.Adam([encoder, decoder], lr=RATE)
            for _ in range(size.steps):
                y = x + NOISE * torch.randn_like(x)
                error = torch.relu(y @ encoder) @ decoder.T - x
                loss = (error**2).sum(1).mean() + DECAY * ((encoder**2).sum() + (decoder**2).sum())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return size.flops * size.steps * models

    return work


def by_torch_vmap(size: Size) -> turns.Work:
    """Train many nets at once as PyTorch's own function transforms do: vmap of grad, Adam on the stacked weights."""
    import torch
    from torch.func import grad, vmap

    x, models = _torch_samples(size), max(1, size.members // 4)

    def objective(weights, y):
        encoder, decoder = weights
        error = torch.relu(y @ encoder) @ decoder.T - x
        return (error**2).sum(1).mean() + DECAY * ((encoder**2).sum() + (decoder**2).sum())

    gradient = vmap(grad(objective))

    def work() -> float:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        shape = models, size.dimension, size.width
        weights = [0.1 * torch.randn(shape) / size.dimension**0.5 for _ in ("encoder", "decoder")]
        optimizer = torch.optim.Adam(weights, lr=RATE)
        for _ in range(size.steps):
            y = x + NOISE * torch.randn((models, *x.shape))
            for parameter, slope in zip(weights, gradient(weights, y), strict=True):
                parameter.grad = slope
            optimizer.step()
        return size.flops * size.steps * models

    return work


def _torch_samples(size: Size):
    import torch

    draws = np.random.default_rng(0).normal(size=(size.samples, size.dimension))
    return torch.from_numpy(draws.astype(np.float32))


def measure(smoke: bool, rounds: int, clock: turns.Clock) -> xr.Dataset:
    """Floating-point operations a second of every contestant, size and round."""
    sizes = SMALL if smoke else SIZES
    cores = len(os.sched_getaffinity(0))
    found = {}
    for size in sizes:
        contestants = {
            THREEFRY: by_ensemble(size, hashed=False, common=False),
            HASHED: by_ensemble(size, hashed=True, common=False),
            COMMON: by_ensemble(size, hashed=True, common=True),
            DESCENT: by_ensemble(size, hashed=True, common=True, optimizer=optax.sgd),
            turns.GEMM: turns.gemm(256 if smoke else 2048),
        }
        if find_spec("torch") is None:
            print("nets: torch is not installed (pip install 'dae_theory[torch]'), so the ensemble runs without rivals")
        else:
            contestants |= {f"{LOOP}, {threads}": by_torch_loop(size, threads) for threads in sorted({1, cores})}
            contestants[VMAP] = by_torch_vmap(size)
        rates = turns.rates(contestants, rounds, clock)
        loops = [rates.pop(name) for name in list(rates) if name.startswith(LOOP)]
        if loops:
            rates[LOOP] = max(loops, key=np.median)
        found[size.name] = rates
    names = list(next(iter(found.values())))
    values = np.asarray([[rates[name] for name in names] for rates in found.values()])
    flops = [size.flops for size in sizes]
    return xr.Dataset(
        {"nets_flops_per_second": (("size", "contestant", "round"), values), "nets_flops": ("size", flops)},
        {"size": list(found), "contestant": names, "round": np.arange(rounds)},
    )


def judge(data: xr.Dataset) -> list[compare.Row]:
    """Ratios round by round; those that were aimed at, against their aim."""
    rate, rows = data["nets_flops_per_second"], []
    present = [str(name) for name in data["contestant"].values]
    for size in (str(name) for name in data["size"].values):
        at = rate.sel(size=size)
        aims = {(who, of): least for who, of, least in TARGETS.get(size, ())}
        rivals = [name for name in (turns.GEMM, LOOP, VMAP) if name in present]
        for who in (THREEFRY, HASHED, COMMON, DESCENT):
            for of in rivals if who != DESCENT else (turns.GEMM,):
                ratios = at.sel(contestant=who).values / at.sel(contestant=of).values
                what = "share of the rate of" if of == turns.GEMM else "times as fast as"
                rows.append(turns.row(f"{who}: {what} {of}", f"n/d/p = {size}", ratios, aims.get((who, of))))
    return rows


def describe(data: xr.Dataset) -> str:
    """Medians over rounds."""
    steps = data["nets_flops_per_second"].median("round") / data["nets_flops"]
    rows = [
        [name, *(f"{float(steps.sel(contestant=name, size=size)):,.0f}" for size in data["size"].values)]
        for name in data["contestant"].values
        if name != turns.GEMM
    ]
    return "model-steps a second, n/d/p:\n" + table(rows, ["", *map(str, data["size"].values)])
