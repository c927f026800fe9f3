"""Do few samples stay in the columns at other noise levels and with other optimizers? Match and certificate per cell.

The five most separable images, centred, σ ∈ {0.2, 1, 5} × Adam, AdamW, RMSprop, SGD. With Adam, RMSprop and SGD the
gradient holds that of λ(‖W₁‖² + ‖W₂‖²): λ is that of (6). AdamW's decay is decoupled, no λ stands for it; its λ is read
off the learned norms, (‖x‖² − ‖w‖²(‖x‖² + σ²))/n, and (9) is taken there. Certificates are those of the polished net in
the span of the samples and one direction more: by rotation symmetry all other directions are like that one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import certify, compare, data, noise, theory
from dae_theory.grid import Grid
from dae_theory.model import Weights
from dae_theory.randomness import derive
from dae_theory.symmetry import match, merge_parallel
from dae_theory.training import Settings, train
from sims import launch
from sims.launch import limits
from sims.measures import columns, verdicts
from sims.nets.side_by_side import OPTIMIZERS, one
from sims.worlds.images import ImagesConfig


@dataclass(frozen=True)
class Config:
    """Train memorizing nets at several noise levels with several optimizers and compare their columns with theory's."""

    source: ImagesConfig = field(default_factory=lambda: ImagesConfig("faces", size=32))
    few: int = 5
    """n, the most separable images."""
    noise_stds: tuple[float, ...] = (0.2, 1.0, 5.0)
    """σ."""
    seeds: int = 2
    """Nets a cell."""
    seed: int = 0
    """Root of all randomness."""
    width: int = 100
    """p, neurons."""
    decay: float = 1e-2
    """Coupled weight decay, λ = decay · d/2; AdamW's own is the same number, decoupled."""
    steps: int = 6000
    """Optimizer steps, warm-up and cosine decay; full batch, one noise draw a sample."""
    learning_rate: float = 3e-3
    """Of Adam, AdamW and RMSprop."""
    sgd_learning_rate: float = 0.1
    """Of SGD with momentum 0.9, in units of 1/max ‖x‖²."""
    certificates: bool = True
    """Polish every net and certify what it becomes."""


SMOKE = {"images": "digits", "size": 8, "few": 3, "noise_stds": (0.2,), "steps": 40, "width": 8, "certificates": False}
NOTHING = {"outside": np.nan, "moved": np.nan, "verdict": np.nan, "growth": np.nan}
NAMES = {"adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop", "sgd": "SGD"}
MOST = 8  # merged neurons that a certificate looks at


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    limits.distinct(config, "noise_stds")
    limits.above_zero(config, "noise_stds", "learning_rate", "sgd_learning_rate")
    limits.at_least(config, seeds=1, few=2, steps=1, width=config.few, decay=0)
    source = config.source.resolved()
    source.check_count(config.few, "--few of them")
    return replace(config, source=source)


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Every cell's match, certificate and columns."""
    x = config.source.load(center=True).x
    x = x[data.most_separable(x, config.few)]
    decay = noise.weight_decay_from_optimizer(config.decay, x.shape[1])
    grid = Grid(sigma=np.asarray(config.noise_stds), seed=np.arange(config.seeds))
    run.expect(len(OPTIMIZERS) * grid.size, len(OPTIMIZERS) * grid.size * config.steps)
    cells = []
    for name, optimizer in OPTIMIZERS.items():
        rate = (
            config.sgd_learning_rate / float(jnp.max(jnp.sum(x**2, axis=1))) if name == "sgd" else config.learning_rate
        )
        coupled = 0.0 if name == "adamw" else decay
        member = partial(_member, config=config, optimizer=optimizer, rate=rate, decay=coupled)
        nets = run.ensemble(name, member, grid.points(), x.astype(jnp.float32), group=1)
        nets = jax.tree.map(lambda columns: columns.astype(jnp.float64), nets)
        measured = [
            _measure(one(nets, index), x, sigma, None if name == "adamw" else decay, certified=config.certificates)
            for index, sigma in enumerate(grid.points()["sigma"])
        ]
        flat = {key: np.stack([cell[key] for cell in measured]) for key in measured[0]}
        cells.append(grid.dataset(flat, TRAILING))
    dataset = xr.concat(cells, dim="optimizer").assign_coords(optimizer=list(OPTIMIZERS))
    dataset["picture"] = dataset["picture"].isel(seed=0)
    apart = [columns.separation(x, sigma) for sigma in config.noise_stds]
    dataset["margin"] = "sigma", [at["gate_margin"] for at in apart]
    return dataset.assign_attrs(
        weight_decay=decay,
        largest_cosine=apart[0]["largest_cosine"],
        side=config.source.size,
        few=config.few,
        width=config.width,
        verdicts=list(certify.VERDICTS),
        name=config.source.images.split(":")[0],
        decay=config.decay,
    )


TRAILING = {"cosine": ["sample"], "norm_ratio": ["sample"], "picture": ["sample", "pixel"]}


def _member(
    point: dict[str, Any], x: Array, *, config: Config, optimizer: Callable[..., Any], rate: float, decay: float
) -> Weights:
    settings = Settings(
        noise_std=point["sigma"].astype(x.dtype),
        weight_decay=decay,
        learning_rate=rate,
        steps=config.steps,
        width=config.width,
        tied=True,
        optimizer=optimizer,
    )
    return train(derive(jax.random.key(config.seed), "nets", point["seed"]), x, settings).weights


def _measure(net: Weights, x: Array, sigma: float, decay: float | None, *, certified: bool) -> dict[str, Any]:
    """Match with (9), and what the exact objective says of the net.

    Without a λ of its own a net is compared with (9) at the one that its norms say, kept within those that (9) has.
    """
    merged = merge_parallel(net, columns.PARALLEL)
    found = match(merged.weights, theory.memorizing_weights(x, noise_std=sigma, weight_decay=0.0))
    squares, lengths = jnp.sum(x**2, axis=1), merged.sizes[found.assignment]
    read_off = float(jnp.mean(theory.weight_decay_of_gain(lengths, squares, 1 / len(x), noise_std=sigma)))
    used = read_off if decay is None else decay
    used = min(max(used, 0.0), 0.99 * float(squares.min()) / len(x))
    found = match(merged.weights, theory.memorizing_weights(x, noise_std=sigma, weight_decay=used))
    partner = np.asarray(found.assignment)
    learned = np.where(partner[None, :] >= 0, np.asarray(merged.weights.encoder)[:, partner], 0)
    return {
        "cosine": np.asarray(found.cosine),
        "norm_ratio": np.asarray(found.norm_ratio),
        "neurons": float(merged.live),
        "surplus": float(found.surplus),
        "read_off": read_off,
        **(_certificate(merged.weights, int(merged.live), x, sigma, used) if certified else NOTHING),
        "picture": columns.pictures(learned),
    }


def _certificate(merged: Weights, live: int, x: Array, sigma: float, decay: float) -> dict[str, Any]:
    """Polish the net to a stationary point of the exact objective, and its certificate."""
    few = len(x)
    basis = np.linalg.qr(np.concatenate([np.asarray(x).T, np.asarray(merged.encoder)[:, :1]], axis=1))[0][:, :few]
    inside = basis.T @ np.asarray(merged.encoder)[:, :MOST]
    outside = 1 - np.sum(inside**2) / np.sum(np.asarray(merged.encoder)[:, :MOST] ** 2)
    inside = np.where(np.arange(inside.shape[1]) < live, inside, 0.0)
    padded = jnp.asarray(np.pad(inside, ((0, 1), (0, 0))))
    begin = Weights(decoder=padded, encoder=padded)
    samples = jnp.asarray(np.pad(np.asarray(x) @ basis, ((0, 0), (0, 1))))
    polished = certify.polish(begin, samples, noise_std=sigma, weight_decay=decay)
    moved = jnp.linalg.norm(polished.weights.encoder - begin.encoder) / jnp.linalg.norm(begin.encoder)
    found = certify.certify(polished.weights, samples, noise_std=sigma, weight_decay=decay)
    return {
        "outside": float(outside),
        "moved": float(moved),
        "verdict": float(found.code),
        "growth": float(found.growth),
    }


def judge(data: xr.Dataset) -> list[compare.Row]:
    """Whether the columns of every cell are the samples."""
    return [
        row
        for sigma in data["sigma"].values
        for optimizer in data["optimizer"].values
        for at in (data.sel(sigma=sigma, optimizer=optimizer),)
        for row in columns.stored_rows(f"σ = {sigma:g}, {NAMES[str(optimizer)]}", at["cosine"], at["norm_ratio"])
    ]


def describe(data: xr.Dataset) -> str:
    """What else is known of a cell."""
    rows = []
    for sigma in data["sigma"].values:
        for optimizer in data["optimizer"].values:
            at = data.sel(sigma=sigma, optimizer=optimizer)
            rows.append(
                [
                    f"{sigma:g}",
                    f"{float(at['margin']):.2f}",
                    NAMES[str(optimizer)],
                    f"{float(at['neurons'].mean()):.1f}",
                    f"{float(at['surplus'].mean()):.4f}",
                    f"{float(at['read_off'].mean()):.3g}",
                    f"{float(at['moved'].max()):.0e}" if at["moved"].notnull().any() else "",
                    verdicts.short(float(at["verdict"].isel(seed=0))),
                ]
            )
    header = ["σ", "margin/σ", "optimizer", "neurons", "surplus", "λ of norms", "moved", "polished"]
    words = (
        f"{data.attrs['few']} {data.attrs['name']}, centred, largest cosine {data.attrs['largest_cosine']:+.3f},"
        f" λ = {data.attrs['weight_decay']:.3g}, p = {data.attrs['width']}; λ of norms: what (9) would need; moved:"
        " relative distance to the stationary point of the exact objective that polishing leads to"
    )
    return f"{launch.wrap(words)}\n{launch.table(rows, header)}"


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
