"""Model-steps a second: the ensemble beside a plain PyTorch loop over single models of the same sizes.

Needs torch (`pip install 'dae_theory[torch]'`). The two take turns, so that a machine whose speed drifts slows both;
PyTorch is measured with one thread and with all, and its better median counts.
"""

import dataclasses
import os
import statistics
import sys
import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from dae_theory import ensemble
from dae_theory.randomness import derive
from dae_theory.training import Settings, train
from sims.launch.terminal import table


@dataclass(frozen=True)
class Config:
    """Compare training throughput: untied nets, full batch, fresh noise every step, Adam, float32."""

    samples: int = 128
    """n."""
    dimension: int = 64
    """d."""
    width: int = 64
    """p, neurons."""
    models: int = 64
    """Members of the ensemble."""
    steps: int = 200
    """Steps a member in every round."""
    rounds: int = 5
    """Alternating rounds; medians are reported."""
    smoke: bool = False
    """A few seconds: small sizes, two rounds."""


def ensemble_round(config: Config):
    """A function that trains the whole ensemble once (already compiled)."""
    settings = Settings(steps=config.steps, width=config.width, weight_decay=1e-3)
    x = jax.random.normal(jax.random.key(0), (config.samples, config.dimension), jnp.float32)

    def member(identity, x):
        return train(derive(jax.random.key(1), "member", identity), x, settings).weights

    program = ensemble.lift(member, ensemble.member_mesh(), 8 if jax.default_backend() == "cpu" else None)
    members = jnp.arange(config.models)
    jax.block_until_ready(program(members, x))
    return lambda: jax.block_until_ready(program(members, x))


def torch_round(config: Config, threads: int, models: int):
    """A function that trains a few single models one after the other, as a plain PyTorch script does."""
    import torch

    x = torch.from_numpy(np.random.default_rng(0).normal(size=(config.samples, config.dimension)).astype(np.float32))

    def run() -> None:
        torch.set_num_threads(threads)
        for _ in range(models):
            encoder = (0.1 * torch.randn(config.dimension, config.width) / config.dimension**0.5).requires_grad_()
            decoder = (0.1 * torch.randn(config.dimension, config.width) / config.dimension**0.5).requires_grad_()
            optimizer = torch.optim.Adam([encoder, decoder], lr=3e-3)
            for _ in range(config.steps):
                y = x + 0.2 * torch.randn_like(x)
                error = torch.relu(y @ encoder) @ decoder.T - x
                loss = (error**2).sum(1).mean() + 1e-3 * ((encoder**2).sum() + (decoder**2).sum())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    run()
    return run


def gemm_rate(seconds: float = 0.5) -> float:
    """The machine's own rate: float32 multiply-adds of one large product, in FLOP/s."""
    a = jnp.ones((2048, 2048), jnp.float32)
    product = jax.jit(lambda a: a @ a)
    jax.block_until_ready(product(a))
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        jax.block_until_ready(product(a))
        done += 1
    return 2 * 2048**3 * done / (time.perf_counter() - start)


def main(config: Config) -> None:
    """Measure in alternating rounds and print the rates and their ratio."""
    if config.smoke:
        config = dataclasses.replace(config, samples=16, dimension=8, width=8, models=16, steps=50, rounds=2)
    jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
    try:
        import torch  # noqa: F401
    except ImportError:
        sys.exit("benchmark_torch: needs torch: pip install 'dae_theory[torch]'")
    cores = len(os.sched_getaffinity(0))
    few = max(1, config.models // 16)
    contestants = {"ensemble": (ensemble_round(config), config.models)}
    for threads in sorted({1, cores}):
        contestants[f"PyTorch loop, {threads} thread(s)"] = (torch_round(config, threads, few), few)
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(config.rounds):
        for name, (run, models) in contestants.items():
            start = time.perf_counter()
            run()
            rates[name].append(models * config.steps / (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    best = max(value for name, value in medians.items() if name != "ensemble")
    # forward: y W1 and h W2ᵀ; backward: two products each for W2, and one for W1 (no gradient reaches y)
    flops = (2 + 2 + 1) * 2 * config.samples * config.dimension * config.width
    rows = [
        [name, f"{value:,.0f}", f"{min(rates[name]):,.0f} to {max(rates[name]):,.0f}", f"{value / best:.2f}"]
        for name, value in medians.items()
    ]
    print(f"n={config.samples} d={config.dimension} p={config.width}, full batch, Adam, {config.rounds} rounds")
    print(table(rows, ["who", "model-steps/s (median)", "range", "of the best PyTorch"]))
    print(f"the ensemble does {medians['ensemble'] * flops / gemm_rate():.0%} of the machine's GEMM rate")


if __name__ == "__main__":
    main(tyro.cli(Config, prog="python -m sims.benchmark_torch", description=__doc__))
