"""Do memorizing denoisers reproduce their training samples, and generalizing ones make new ones? Chains, counted.

From noise to data through f_emp (3), f_gt, sets of trained nets (one a noise level), the published noise-conditional
net and sets of theory's own weights, (9) and Cor. 3.3, for few and for many training samples of mixtures of several
intrinsic dimensions. A chain's end is memorized where d₁/d₂ < 1/3; every rate stands beside its null, the same rule on
held-out data (3^−r where dense).

f of (5) is positively homogeneous, f(cy) = c f(y): a low-noise net can tell a direction, not a length. Under (9), while
one gate is open, the flow carries a start y₀ ~ N(0, σ₀²I) to ⟨y₀, x_i⟩/√(‖x_i‖² + σ₀²) times x_i/‖x_i‖, so its length
is as random as the start. The rule is therefore also applied to directions x/‖x‖.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import compare, memorization, sampling, theory
from dae_theory.checks import Refusal
from dae_theory.directions import unit
from dae_theory.grid import Grid
from dae_theory.randomness import derive
from sims import launch
from sims.launch import limits
from sims.measures import chains, nearest
from sims.nets import noise_levels
from sims.nets.conditional import ConditionalConfig
from sims.nets.training import TrainingConfig
from sims.worlds.mixture import MixtureConfig

TRAININGS = ("few", "many")
SOURCES = ("f_emp", "nets", "conditional", "analytic", "f_gt")
LEARNED = (
    ("nets", "set of trained nets", "Cor. 3.2"),
    ("conditional", "noise-conditional net", "Cor. 3.2"),
    ("analytic", "analytic weights", "(9)"),
)
SHARES = np.linspace(0, 1, 21)  # u of the distribution of d₁/d₂
QUARTILES = (0.25, 0.5, 0.75)
MEMORIZED = 0.95  # share of chains that the claim of memorization asks for
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
    training: TrainingConfig = field(default_factory=partial(TrainingConfig, steps=3000))
    init_scale: float = 0.03
    """Expected norm of an initial column; from small ones nets learn few directions, (9) needs that."""
    weight_decay: float = 3e-3
    """λ of (6)."""
    conditional: ConditionalConfig = field(default_factory=ConditionalConfig)


SMOKE = {
    "ranks": (2,),
    "seeds": 2,
    "levels": 4,
    "chains": 60,
    "steps": 40,
    "many": 64,
    "dimension": 8,
    "width": 16,
    "conditional_width": 8,
    "conditional_steps": 20,
}


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    limits.at_least(config, components=1, few=2, many=2, seeds=2, levels=2, chains=2, width=1)
    limits.at_least(config, ranks=1)
    limits.distinct(config, "ranks")
    config.training.check()
    config.conditional.check()
    room = config.dimension - max(config.components - 1, 1)
    if max(config.ranks) > room:
        raise Refusal(f"--ranks must be at most d − K + 1 = {room}; got {max(config.ranks)}")
    for name in ("few", "many"):
        if getattr(config, name) % config.components:
            raise Refusal(f"--{name} must be a multiple of --components; got {getattr(config, name)}")
    if not config.many > config.few:
        raise Refusal(f"--many must be above --few = {config.few}; got {config.many}")
    limits.above_zero(config, "radius", "spread", "lowest", "init_scale")
    if not config.highest > config.lowest:
        raise Refusal(f"--highest must be above --lowest = {config.lowest}; got {config.highest}")
    most = min(config.radius**2 / config.few, min(config.radius, config.spread) ** 2 / config.components)
    if not 0 <= config.weight_decay < most:
        raise Refusal(
            f"--weight-decay must lie in [0, {most:.3g}), or theory's weights vanish; got {config.weight_decay}"
        )
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Train all sets as one ensemble, then sample from every source."""
    schedule = sampling.geometric_schedule(config.highest, config.lowest, config.levels)
    worlds = Grid(rank=config.ranks, seed=range(config.seeds))
    cells = Grid(rank=config.ranks, seed=range(config.seeds), training=range(len(TRAININGS)))
    at = cells.points()
    drawn = [_world(config, int(r), int(s)) for r, s in zip(*worlds.points().values(), strict=True)]
    members = {
        "identity": np.stack([at["rank"], at["seed"], at["training"]], axis=1),
        "pool": np.arange(cells.size) // len(TRAININGS),
        "n": np.asarray([config.few, config.many])[at["training"]],
    }
    settings = config.training.settings(
        width=config.width, init_scale=config.init_scale, weight_decay=config.weight_decay
    )
    run.expect(cells.size * config.levels, cells.size * config.levels * config.training.steps)
    pools = jnp.stack([world["pool"] for world in drawn])
    sets = noise_levels.train_sets(run, "nets", members, pools, schedule[:-1], settings, seed=config.seed)
    measured = [
        _measure(config, drawn[members["pool"][i]], int(members["n"][i]), noise_levels.one(sets, i), schedule)
        for i in range(cells.size)
    ]
    flat = {name: np.stack([one[name] for one in measured]).astype(np.float32) for name in measured[0]}
    dataset = cells.dataset(flat, AXES).assign_coords(
        training=list(TRAININGS),
        source=list(SOURCES),
        sigma=np.asarray(schedule[:-1]),
        share=SHARES,
        length=(LENGTHS[1:] + LENGTHS[:-1]) / 2,
        quartile=list(QUARTILES),
    )
    kept = ("few", "many", "chains", "dimension", "components", "radius", "highest", "levels", "width", "weight_decay")
    return dataset.assign_attrs({name: getattr(config, name) for name in kept})


def _world(config: Config, rank: int, seed: int) -> dict[str, Any]:
    """A mixture, its training pool (component by component in turn), held-out samples and the chains' start."""
    key = derive(jax.random.key(config.seed), "world", rank, seed)
    mixture = MixtureConfig(config.components, config.dimension, rank, config.radius, config.spread).draw(
        derive(key, "mixture")
    )
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
    analytic = noise_levels.analytic_set(stored, schedule[:-1])
    noise = {"lowest": config.lowest, "highest": config.highest}
    conditional = config.conditional.train(key, training, batch_size=config.training.batch_size, **noise)
    from_nets, participation = chains.follow_nets(key, nets, schedule, start)
    ends = {
        "f_emp": chains.follow_samples(key, training, schedule, start),
        "nets": from_nets,
        "conditional": chains.follow_network(key, conditional, schedule, start),
        "analytic": chains.follow_nets(key, analytic, schedule, start)[0],
        "f_gt": chains.follow_mixture(key, mixture, schedule, start),
    }
    plain = [nearest.ratios(ends[name], training) for name in SOURCES]
    turned = [nearest.ratios(unit(ends[name]), unit(training)) for name in SOURCES]
    held_out = nearest.ratios(world["held_out"], training)
    held_out_turned = nearest.ratios(unit(world["held_out"]), unit(training))
    rule = memorization.THRESHOLD
    return {
        "rate": np.stack([nearest.below(ratio, rule) for ratio in plain]),
        "direction_rate": np.stack([nearest.below(ratio, rule) for ratio in turned]),
        "null": nearest.below(held_out, rule),
        "direction_null": nearest.below(held_out_turned, rule),
        "ratio_below": np.stack([nearest.below(ratio, SHARES) for ratio in plain]),
        "null_below": nearest.below(held_out, SHARES),
        "length_density": np.stack(
            [nearest.density(nearest.lengths(ends[name], training), LENGTHS) for name in SOURCES]
        ),
        "length_predicted": nearest.density(theory.stored_lengths(training, start, config.highest), LENGTHS),
        "participation": np.nanquantile(participation, QUARTILES, axis=1),
    }


def judge(data: xr.Dataset) -> list[compare.Row]:
    """Rates of the reference denoisers, then of everything that learned or was predicted from few and many samples."""
    few, many = data.sel(training="few"), data.sel(training="many")
    n, large = data.attrs["few"], data.attrs["many"]

    def rate(
        claim: str, label: str, rates: xr.DataArray, predicted: float, relation: compare.Relation = "="
    ) -> compare.Row:
        total = rates.size * data.attrs["chains"]
        return compare.share(claim, label, float(rates.mean()) * total, total, predicted, relation=relation)

    rows = []
    for rank in data["rank"].values:
        at, at_random = many.sel(rank=rank), memorization.null_rate(int(rank))
        f_emp, f_gt = (at["rate"].sel(source=source) for source in ("f_emp", "f_gt"))
        rows += [
            rate(f"f_emp, n = {large}, r = {rank}: memorized rate", "(3)", f_emp, MEMORIZED, "≥"),
            rate(f"f_gt, r = {rank}: memorized rate, against held-out data", "null", f_gt, float(at["null"].mean())),
            compare.mean(f"held-out data, r = {rank}: the rule fires", "3^−r where dense", at["null"], at_random),
        ]
    for source, words, label in LEARNED:
        at, null = few.sel(source=source), float(many["direction_null"].mean())
        directions = many["direction_rate"].sel(source=source)
        rows += [
            rate(f"{words}, n = {n}: memorized rate, by distance", label, at["rate"], MEMORIZED, "≥"),
            rate(f"{words}, n = {n}: by direction", label, at["direction_rate"], MEMORIZED, "≥"),
            rate(f"{words}, n = {large}: by direction, against held-out data", "Cor. 3.3", directions, null),
        ]
    return rows


def describe(data: xr.Dataset) -> str:
    """Rates beside nulls, one row a dimension, training set and source."""
    given, rows = data.attrs, []
    for rank in data["rank"].values:
        for training in TRAININGS:
            at = data.sel(rank=rank, training=training)
            for source in SOURCES:
                one = at.sel(source=source)
                cells = (one[name] for name in ("rate", "null", "direction_rate", "direction_null"))
                rates = (_with_interval(cell, given["chains"]) for cell in cells)
                rows.append([rank, given[training], source, *rates, f"{memorization.null_rate(int(rank)):.4f}"])
    header = ["r", "n", "source", "rate", "its null", "of directions", "its null", "3^−r"]
    words = (
        f"memorized rate (d₁/d₂ < 1/3) of {data.sizes['seed']} × {given['chains']} chains, bootstrap 95 % over them;"
        f" d = {given['dimension']}, K = {given['components']}, σ {given['highest']:g} → 0 in {given['levels']} levels."
        " f(cy) = c f(y) leaves the length open, so directions are counted as well"
    )
    return "\n".join([launch.wrap(words), launch.table(rows, header)])


def _with_interval(rates: xr.DataArray, chains: int) -> str:
    """The rate over the chains of all seeds, with its interval."""
    fires = np.concatenate([np.arange(chains) < round(float(rate) * chains) for rate in rates.values.ravel()])
    rate = memorization.rate(fires)
    return f"{rate.rate:.4f} [{rate.low:.4f}, {rate.high:.4f}]"


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
