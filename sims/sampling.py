"""Do memorizing denoisers reproduce their training samples, and generalizing ones make new ones? Chains, counted.

From noise to data through f_emp (3), f_gt, sets of trained nets (one a noise level), the published noise-conditional
net and sets of theory's own weights, (9) and Cor. 3.3, for few and for many training samples of mixtures of several
intrinsic dimensions. A chain's end is memorized where d₁/d₂ < 1/3; every rate stands beside its null, the same rule on
held-out data (3^−r where dense).

f of (5) is positively homogeneous, f(cy) = c f(y): a low-noise net can tell a direction, not a length. Under (9), while
one gate is open, the flow carries a start y₀ ~ N(0, σ₀²I) to ⟨y₀, x_i⟩/√(‖x_i‖² + σ₀²) times x_i/‖x_i‖, so its length
is as random as the start. The rule is therefore also applied to directions x/‖x‖.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import data, diffusion, memorization, sampling, theory
from dae_theory.grid import Grid
from dae_theory.randomness import derive
from dae_theory.training import Settings
from sims import launch
from sims.launch import limits
from sims.measures import chains
from sims.measures.chains import unit
from sims.nets import noise_levels

TRAININGS = ("few", "many")
SOURCES = ("f_emp", "nets", "conditional", "analytic", "f_gt")
SHARES = np.linspace(0, 1, 21)  # u of the distribution of d₁/d₂
QUARTILES = (0.25, 0.5, 0.75)
MEMORIZED = 0.95
AXES = {
    "rate": ("source",),
    "direction_rate": ("source",),
    "ratio_below": ("source", "share"),
    "null_below": ("share",),
    "length_density": ("source", "length"),
    "length_predicted": ("length",),
    "participation": ("quartile", "sigma"),
}
LENGTHS = np.linspace(0, 3, 31)  # edges of the histogram of ⟨x, x_i⟩/‖x_i‖²


@dataclass(frozen=True)
class Config:
    """Sample with reference denoisers, trained nets and analytic weights; count memorized samples beside the null."""

    ranks: tuple[int, ...] = (2, 3, 6)
    """Intrinsic dimensions r of the mixtures."""
    few: int = 4
    """Training samples of the memorizing sets; by default one of each component."""
    many: int = 1024
    """Training samples of the generalizing sets."""
    seeds: int = 3
    """Replicates: each has its own mixture, samples, nets and chains."""
    seed: int = 0
    """Root of all randomness."""
    dimension: int = 16
    """d."""
    components: int = 4
    """K."""
    radius: float = 3.0
    """Norm of the means."""
    spread: float = 1.0
    """Standard deviation of a component in each of its r directions, which are orthogonal to all means."""
    highest: float = 4.0
    """σ where chains start (published: 2)."""
    lowest: float = 0.005
    """Last σ before 0, below the distance of neighbours, or f_emp averages over them (published: 0.02)."""
    levels: int = 30
    """Geometric noise levels, one net each (published: 60)."""
    chains: int = 1500
    """Chains a source, and held-out points for the null."""
    width: int = 48
    """p of the nets."""
    steps: int = 3000
    """Optimizer steps of a net."""
    batch_size: int = 64
    """Samples a step."""
    learning_rate: float = 5e-3
    """Highest learning rate of the schedule."""
    init_scale: float = 0.03
    """Expected norm of an initial column; from small ones nets learn few directions, (9) needs that."""
    weight_decay: float = 3e-3
    """λ of (6)."""
    conditional_width: int = 128
    """Neurons of the noise-conditional net (published: 256)."""
    conditional_steps: int = 4000
    """Its optimizer steps."""
    conditional_rate: float = 3e-3
    """Its learning rate."""


SMOKE = {"ranks": (2,), "seeds": 2, "levels": 4, "chains": 60, "steps": 40, "many": 64, "dimension": 8, "width": 16,
         "conditional_width": 8, "conditional_steps": 20}  # fmt: skip


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    if not config.ranks or len(set(config.ranks)) != len(config.ranks) or min(config.ranks) < 1:
        raise ValueError(f"--ranks must be distinct whole numbers ≥ 1; got {list(config.ranks)}")
    room = config.dimension - max(config.components - 1, 1)
    if max(config.ranks) > room:
        raise ValueError(f"--ranks must be at most d − K + 1 = {room}; got {max(config.ranks)}")
    limits.at_least(
        config,
        components=1,
        few=2,
        many=2,
        seeds=2,
        levels=2,
        chains=2,
        width=1,
        steps=1,
        batch_size=1,
        conditional_width=1,
        conditional_steps=1,
    )
    for option in ("few", "many"):
        if getattr(config, option) % config.components:
            raise ValueError(f"--{option} must be a multiple of --components; got {getattr(config, option)}")
    if not config.many > config.few:
        raise ValueError(f"--many must be above --few = {config.few}; got {config.many}")
    limits.above_zero(config, "radius", "spread", "lowest", "learning_rate", "init_scale", "conditional_rate")
    if not config.highest > config.lowest:
        raise ValueError(f"--highest must be above --lowest = {config.lowest}; got {config.highest}")
    most = min(config.radius**2 / config.few, min(config.radius, config.spread) ** 2 / config.components)
    if not 0 <= config.weight_decay < most:
        raise ValueError(f"--weight-decay must lie in [0, {most:.3g}), or theory's weights vanish;"
                         f" got {config.weight_decay}")  # fmt: skip
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Train all sets as one ensemble, then sample from every source."""
    schedule = sampling.geometric_schedule(config.highest, config.lowest, config.levels)
    worlds, cells = (
        Grid(rank=config.ranks, seed=range(config.seeds)),
        Grid(rank=config.ranks, seed=range(config.seeds), training=range(len(TRAININGS))),
    )
    at = cells.points()
    drawn = [_world(config, int(r), int(s)) for r, s in zip(*worlds.points().values(), strict=True)]
    members = {
        "identity": np.stack([at["rank"], at["seed"], at["training"]], axis=1),
        "pool": np.arange(cells.size) // len(TRAININGS),
        "n": np.asarray([config.few, config.many])[at["training"]],
    }
    settings = Settings(
        steps=config.steps, width=config.width, batch_size=config.batch_size, learning_rate=config.learning_rate,
        init_scale=config.init_scale, weight_decay=config.weight_decay,
    )  # fmt: skip
    run.expect(cells.size * config.levels, cells.size * config.levels * config.steps)
    pools = jnp.stack([world["pool"] for world in drawn])
    sets = noise_levels.train_sets(run, "nets", members, pools, schedule[:-1], settings, seed=config.seed)
    measured = [
        _measure(config, drawn[members["pool"][i]], int(members["n"][i]), noise_levels.one(sets, i), schedule)
        for i in range(cells.size)
    ]
    flat = {name: np.stack([one[name] for one in measured]).astype(np.float32) for name in measured[0]}
    dataset = cells.dataset(flat, AXES).assign_coords(
        training=list(TRAININGS), source=list(SOURCES), sigma=np.asarray(schedule[:-1]), share=SHARES,
        length=(LENGTHS[1:] + LENGTHS[:-1]) / 2, quartile=list(QUARTILES),
    )  # fmt: skip
    return dataset.assign_attrs(
        {name: getattr(config, name) for name in ("few", "many", "chains", "dimension", "components", "radius",
                                                  "highest", "levels", "width", "weight_decay")}
    )  # fmt: skip


def _world(config: Config, rank: int, seed: int) -> dict[str, Any]:
    """A mixture, its training pool (component by component in turn), held-out samples and the chains' start."""
    key = derive(jax.random.key(config.seed), "world", rank, seed)
    mixture = data.simplex_mixture(
        derive(key, "mixture"), dimension=config.dimension, components=config.components, radius=config.radius,
        rank=rank, spread=config.spread, clean=True,
    )  # fmt: skip
    return {
        "mixture": mixture,
        "pool": mixture.sample_balanced(derive(key, "pool"), config.many // config.components).x,
        "held_out": mixture.sample(derive(key, "held out"), config.chains).x,
        "key": derive(key, "chains"),
    }


def _measure(
    config: Config, world: dict[str, Any], n: int, nets: sampling.DenoiserSet, schedule: Array
) -> dict[str, np.ndarray]:
    """Rates, lengths and representations of the chains of every source, for the first n samples of a world."""
    training, mixture, key = world["pool"][:n], world["mixture"], world["key"]
    start = sampling.prior(key, config.chains, config.dimension, config.highest)
    if n == config.few:
        stored = partial(theory.memorizing_weights, training, weight_decay=config.weight_decay)
    else:
        ranks = (mixture.rank + 1,) * mixture.components  # the mean and the directions of spread
        stored = partial(theory.population_weights, mixture, ranks, weight_decay=config.weight_decay)
    columns = [stored(noise_std=float(sigma)) for sigma in schedule[:-1]]
    analytic = sampling.set_of_denoisers(jax.tree.map(lambda *w: jnp.stack(w), *columns), schedule[:-1])
    from_nets, participation = chains.follow_nets(key, nets, schedule, start)
    ends = {
        "f_emp": chains.follow_samples(key, training, schedule, start),
        "nets": from_nets,
        "conditional": chains.follow_network(key, _conditional(config, training, key), schedule, start),
        "analytic": chains.follow_nets(key, analytic, schedule, start)[0],
        "f_gt": chains.follow_mixture(key, mixture, schedule, start),
    }
    plain = {name: _ratio(end, training) for name, end in ends.items()}
    turned = {name: _ratio(unit(end), unit(training)) for name, end in ends.items()}
    held_out, held_out_turned = (
        _ratio(world["held_out"], training),
        _ratio(unit(world["held_out"]), unit(training)),
    )
    return {
        "rate": _rates(plain),
        "direction_rate": _rates(turned),
        "null": _below(held_out, memorization.THRESHOLD),
        "direction_null": _below(held_out_turned, memorization.THRESHOLD),
        "ratio_below": np.stack([_below(plain[name], SHARES) for name in SOURCES]),
        "null_below": _below(held_out, SHARES),
        "length_density": np.stack([_density(_lengths(ends[name], training)) for name in SOURCES]),
        "length_predicted": _density(_predicted_lengths(start, training, config.highest)),
        "participation": np.nanquantile(participation, QUARTILES, axis=1),
    }


def _conditional(config: Config, training: Array, key: Array) -> diffusion.Network:
    """The published noise-conditional net, trained over the same range of noise."""
    network = diffusion.relu_network(derive(key, "network"), config.dimension, width=config.conditional_width)
    settings = diffusion.Settings(
        lowest=config.lowest, highest=config.highest, learning_rate=config.conditional_rate,
        steps=config.conditional_steps, batch_size=config.batch_size, chunk=config.conditional_steps,
    )  # fmt: skip
    return diffusion.train(derive(key, "training"), network, training.astype(jnp.float32), settings).network


def _ratio(points: Array, training: Array) -> np.ndarray:
    return np.asarray(memorization.nearest_distances(points, training).ratio)


def _rates(ratios: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack([_below(ratios[name], memorization.THRESHOLD) for name in SOURCES])


def _below(ratio: np.ndarray, share: Any) -> np.ndarray:
    """Share of points with d₁/d₂ < u, for every u."""
    return np.asarray(np.mean(ratio.reshape(-1, *(1,) * np.ndim(share)) < share, axis=0))


def _lengths(points: Array, training: Array) -> Array:
    """⟨x, x_i⟩/‖x_i‖², x_i being the sample at the smallest angle."""
    nearest = training[jnp.argmax(unit(points) @ unit(training).T, axis=1)]
    return jnp.sum(points * nearest, axis=1) / jnp.sum(nearest**2, axis=1)


def _predicted_lengths(start: Array, training: Array, noise_std: float) -> Array:
    """What (9) makes of a start, were the gate of the nearest direction the only open one.

    Along x_i the denoiser is that of N(0, R²), gain R²/(R² + σ²), and the probability flow has the closed form
    y_σ = y₀ √((R² + σ²)/(R² + σ₀²)), λ → 0.
    """
    along = jnp.max(start @ unit(training).T, axis=1)
    nearest = training[jnp.argmax(start @ unit(training).T, axis=1)]
    return along / jnp.sqrt(jnp.sum(nearest**2, axis=1) + noise_std**2)


def _density(lengths: Array) -> np.ndarray:
    return np.histogram(np.asarray(lengths), LENGTHS)[0] / len(lengths) / np.diff(LENGTHS)


def report(data: xr.Dataset) -> str:
    """Rates beside nulls, one row a dimension, training set and source, and what of the claim holds."""
    seeds, chains = data.sizes["seed"], data.attrs["chains"]
    rows = []
    for rank in data["rank"].values:
        for training in TRAININGS:
            at = data.sel(rank=rank, training=training)
            for source in SOURCES:
                one = at.sel(source=source)
                row = [rank, data.attrs[training], source]
                for prefix in ("", "direction_"):
                    rate, null = pooled(one[f"{prefix}rate"], chains), pooled(one[f"{prefix}null"], chains)
                    row += [_with_interval(rate, one[f"{prefix}rate"]), _with_interval(null, one[f"{prefix}null"])]
                    row.append(verdict(rate, null))
                rows.append([*row, f"{memorization.null_rate(int(rank)):.4f}"])
    header = [
        "r",
        "n",
        "source",
        "rate [bootstrap 95 %] ± SEM",
        "its null",
        "verdict",
        "of directions",
        "its null",
        "verdict",
        "3^-r",
    ]
    few = data.sel(training="few").mean(["rank", "seed"])
    shares = [
        f"{words} {float(few['rate'].sel(source=source)):.2f} by distance,"
        f" {float(few['direction_rate'].sel(source=source)):.2f} by direction"
        for source, words in (("nets", "set of nets"), ("conditional", "conditional net"), ("analytic", "(9)"))
    ]
    return "\n".join(
        [
            f"memorized rate (d₁/d₂ < 1/3) of {seeds} × {chains} chains, intervals over them, SEM over seeds, verdicts"
            " by Wilson's intervals;"
            f" d = {data.attrs['dimension']}, K = {data.attrs['components']}, σ {data.attrs['highest']:g} → 0 in"
            f" {data.attrs['levels']} levels",
            launch.table(rows, header),
            "",
            f"memorized from few samples: {'; '.join(shares)}",
            "f(cy) = c f(y) leaves the length open: these nets reproduce directions of training samples, not lengths",
        ]
    )


def pooled(rates: xr.DataArray, chains: int) -> memorization.Rate:
    """The rate over the chains of all seeds, with its intervals."""
    fires = np.concatenate([np.arange(chains) < round(float(rate) * chains) for rate in rates.values.ravel()])
    return memorization.rate(fires)


def verdict(rate: memorization.Rate, null: memorization.Rate) -> str:
    """Where a rate lies: near 1, at its null (95 % intervals overlap), above or below it."""
    if rate.rate >= MEMORIZED:
        return "memorized"
    if rate.wilson_low > null.wilson_high:
        return "above null"
    return "below null" if rate.wilson_high < null.wilson_low else "at null"


def _with_interval(rate: memorization.Rate, over_seeds: xr.DataArray) -> str:
    sem = float(over_seeds.std("seed", ddof=1)) / over_seeds.sizes["seed"] ** 0.5
    return f"{rate.rate:.4f} [{rate.low:.4f}, {rate.high:.4f}] ± {sem:.4f}"


SIM = launch.Sim(Config, compute, launch.unjudged, SMOKE, resolve, describe=report)


if __name__ == "__main__":
    launch.main(SIM)
