"""When does a net memorize, and when does it generalize? One net a cell and seed, over any two or three axes.

python -m sims.phase_diagram                      samples n × neurons p on a simplex mixture, 768 nets
python -m sims.phase_diagram --data mnist         the same on handwritten digits
python -m sims.phase_diagram --x n --y sigma      another pair of axes
python -m sims.phase_diagram --x n --y steps      training time: every net at many steps of one run, constant rate
"""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import jax
import numpy as np
import xarray as xr

from dae_theory import compare, ensemble
from dae_theory.checks import Refusal
from dae_theory.grid import Grid
from dae_theory.training import Settings
from sims import launch
from sims.launch import limits
from sims.measures import times
from sims.measures.boundaries import INDEX, passes, places, with_boundary
from sims.measures.observables import POLISHED, measured
from sims.nets import cell
from sims.nets.training import TrainingConfig
from sims.worlds import sources
from sims.worlds.axes import AXES, axis_values, coordinates, identities
from sims.worlds.lines import LINES, ends, lines

AxisName = Literal["n", "p", "sigma", "lambda", "copies", "d", "K", "separation", "steps", "scale"]


@dataclass(frozen=True)
class Config:
    """Train a denoising autoencoder in every cell of a grid and map where it memorizes and where it generalizes."""

    source: sources.SourceConfig = field(default_factory=sources.SourceConfig)
    """What the nets see: a synthetic set or images, their size and their spread."""
    x: AxisName = "n"
    """Horizontal axis."""
    y: AxisName = "p"
    """Vertical axis."""
    z: AxisName | None = None
    """Third axis: one panel a value."""
    x_values: tuple[float, ...] = ()
    """Values of the horizontal axis; empty for its own."""
    y_values: tuple[float, ...] = ()
    """The same for --y."""
    z_values: tuple[float, ...] = ()
    """The same for --z."""
    seeds: int = 8
    """Replicates: each has its own data and its own nets."""
    seed: int = 0
    """Root of all randomness."""
    n: int = 64
    """Training samples, where n is no axis."""
    p: int = 32
    """Neurons, where p is no axis."""
    noise_std: float = 0.2
    """σ, where sigma is no axis."""
    weight_decay: float = 1e-3
    """λ of the objective (6), where lambda is no axis."""
    copies: int = 1
    """How often the first sample is present, where copies is no axis."""
    training: TrainingConfig = TrainingConfig(steps=3000, generator="hashed")
    """How every net is trained, by Adam; where steps is an axis, one run to its last value, at a constant rate."""
    init_scale: float = 0.3
    """Expected norm of an initial column, where scale is no axis."""
    tied: bool = False
    """One matrix W = W1 = W2."""
    evaluation: int = 128
    """Noisy points behind every measured mean."""
    polish: int = 0
    """Steps of L-BFGS on the exact objective (6) after training, 0 for none; then everything is measured on the
    minimizer they lead to. Takes many times longer than training: best on a small grid."""

    @property
    def axes(self) -> dict[str, np.ndarray]:
        """Name -> values of the axes of the grid, x first."""
        chosen = {self.x: self.x_values, self.y: self.y_values} | ({self.z: self.z_values} if self.z else {})
        return {name: np.asarray(values, int if AXES[name].integer else float) for name, values in chosen.items()}

    def swept(self, name: str) -> tuple[float, ...]:
        """Values of an axis, empty where it is none."""
        return tuple(self.axes.get(name, ()))

    @property
    def times(self) -> tuple[int, ...]:
        """Numbers of steps at which every net is measured, where they are an axis."""
        return tuple(int(step) for step in self.swept("steps"))

    def settings(self) -> Settings:
        """How every net is trained, apart from what its cell says."""
        return self.training.settings(tied=self.tied)


SMOKE = {
    "x_values": (2.0, 8.0, 64.0),
    "y_values": (5.0, 12.0),  # one bucket of widths: half of the time is compilation
    "seeds": 2,
    "steps": 60,
    "dimension": 8,
    "evaluation": 16,
    "size": 8,
}


def resolve(config: Config) -> Config:
    """Fill in the values of the axes, and refuse what does not fit together."""
    names = [name for name in (config.x, config.y, config.z) if name]
    if len(set(names)) != len(names):
        raise Refusal(f"--x, --y and --z must be different axes; got {', '.join(names)}")
    limits.at_least(config, seeds=2, evaluation=2, n=2, p=1, polish=0, copies=1, weight_decay=0)
    limits.above_zero(config, "noise_std", "init_scale")
    config.training.check()
    if config.z_values and not config.z:
        raise Refusal(f"--z-values needs --z, the axis whose values they are; got {list(config.z_values)}")
    data = config.source.data
    if data != "simplex" and (swept := [name for name in names if AXES[name].of_mixture]):
        raise Refusal(f"axis {swept[0]} changes the mixture, so it needs --data simplex; got --data {data}")
    most = sources.source(config.source).most_samples
    largest = {"n": most}
    filled = {
        f"{letter}_values": tuple(
            axis_values(name, getattr(config, f"{letter}_values"), option=f"--{letter}-values", most=largest.get(name))
            .astype(float)
            .tolist()
        )
        for letter, name in (("x", config.x), ("y", config.y), ("z", config.z))
        if name
    }
    config = replace(config, **filled)
    if most is not None and "n" not in names and config.n > most:
        raise Refusal(f"--n must be at most {most} with these data; got {config.n}")
    if "n" in names and config.axes["n"].min() < 2:
        raise Refusal("--x-values must be at least 2 for axis n: the rule of nearest neighbours needs two samples")
    if config.polish and config.times:
        raise Refusal(f"--polish must be 0 where steps is an axis: it leads away from the run; got {config.polish}")
    config.source.check(dimensions=config.swept("d"), components=config.swept("K"))
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """All cells and seeds; every dimension and bucket of widths has a program that trains and one that measures."""
    # times are those of one run: no axis of the ensemble, but one behind it
    grid = Grid(**{name: values for name, values in config.axes.items() if name != "steps"}, seed=range(config.seeds))
    points = grid.points()
    source = sources.source(config.source, components=config.swept("K"))
    at = coordinates(config, points, source.dimension)
    width = cell.padded(at["p"])
    samples = at["n"] + at["copies"] - 1
    # polishing pays for padding in every step, training does not
    rows = ensemble.buckets(samples, ratio=3.0) if config.polish else np.full_like(samples, samples.max())
    identity = identities(at, points["seed"])
    key = jax.random.key(config.seed)
    run.expect(grid.size, grid.size * (config.times[-1] if config.times else config.training.steps))
    results: dict[str, np.ndarray] = {}
    parts: list[tuple[np.ndarray, ensemble.Prepared]] = []
    for dimension in np.unique(at["d"]):
        worlds, world = sources.draw_worlds(
            key, source, at, points["seed"], dimension=dimension, fresh=config.evaluation
        )
        of_dimension = at["d"] == dimension
        for bucket, most in np.unique(np.stack([width, rows], axis=1)[of_dimension], axis=0):
            here = np.flatnonzero(of_dimension & (width == bucket) & (rows == most))
            part = run.prepare(
                f"d{dimension}-p{bucket}-n{most}",
                partial(
                    cell.trained,
                    settings=replace(config.settings(), width=int(bucket)),
                    max_rows=int(most),
                    times=config.times,
                ),
                cell.points(here, root=config.seed, world=world, identity=identity, at=at),
                worlds,
                then=partial(
                    measured,
                    max_rows=int(most),
                    evaluation=config.evaluation,
                    truth=source.truth_denoiser,
                    population=source.is_mixture,
                    polish=config.polish,
                ),
            )
            parts.append((here, part))
    run.say(f"up to {2 * len(parts)} programs to compile, while nets are trained and measured")
    for here, part in parts:
        for name, values in part.result(run.advance).items():
            results.setdefault(name, np.full((grid.size, *np.shape(values)[1:]), np.nan))[here] = np.asarray(values)
    conditions = lines(key, config, source, config.axes, pool=int(at["n"].max()), fresh=config.evaluation)
    behind = {name: ("steps",) for name in results if config.times}
    dataset = grid.dataset(results, behind).assign_coords(config.axes)
    dataset = xr.merge([_labelled(dataset, config), conditions])
    dataset = dataset.assign_attrs(
        {"x": config.x, "y": config.y, "z": config.z or "", "data": config.source.data, "truth": source.truth_is},
        padding=float(width.sum() / at["p"].sum()),
    )
    dataset = with_boundary(dataset)
    return times.of_map(dataset, key) if config.times else dataset


def _labelled(dataset: xr.Dataset, config: Config) -> xr.Dataset:
    """With words for the axes, and training time also as η · steps."""
    for name in config.axes:
        dataset[name].attrs["label"] = AXES[name].label
    if not config.times:
        return dataset
    rate = config.training.learning_rate
    dataset["steps"].attrs["label"] += rf" at $\eta$ = {rate:g}"
    return dataset.assign_coords(time=("steps", rate * dataset["steps"].values, {"label": "time, η · steps"}))


def judge(data: xr.Dataset) -> list[compare.Row]:
    """Both ends of the map, then the boundary of every row beside where theory's conditions end."""
    x, others = data.attrs["x"], [data.attrs[axis] for axis in "yz" if data.attrs[axis]]
    rows = _ends(data) if (x, *others) == ("n", "p") else []
    for _, at in places(data, others):
        found = data.sel(at)
        if np.isfinite(found["boundary"]):
            where = ", ".join(f"{name} = {value:g}" for name, value in at.items())
            claim = f"boundary in {x} at {where}: index = {data.attrs['level']:g}"
            band = (float(found[f"boundary{end}"]) for end in ("", "_low", "_high"))
            rows.append(compare.interval(claim, _conditions(data, at), *band))
    if {x, *others} == {"n", "steps"}:
        rows += times.exponents(data, "Adam at a constant rate")
    return rows


def _ends(data: xr.Dataset) -> list[compare.Row]:
    """Widest nets: with the fewest samples they memorize, and somewhere to the right of that they generalize."""
    wide = data.isel(p=-1)
    few, many = wide.isel(n=0), wide.isel(n=int(wide[INDEX].mean("seed").argmin("n")))
    sides: tuple[tuple[xr.Dataset, str, str, compare.Relation], ...] = (
        (few, "memorizing", "spiky", "≥"),
        (many, "generalizing", "balanced", "≤"),
    )
    rows = []
    for at, words, solution, relation in sides:
        place = f"n = {int(at['n'])}, p = {int(at['p'])}"
        claims = {
            INDEX: (f"index at noisy training points, {place}: {words}", "(3), (4)  D_gt/(D_gt + D_emp)"),
            "match": (f"Jacobian nearer to the {solution} solution, {place}", "(9), Cor. 3.3  D_bal/(D_spk + D_bal)"),
        }
        rows += [compare.mean(*claim, at[name].values, 0.5, relation=relation) for name, claim in claims.items()]
    claim = "memorized rate of denoised fresh points over its null, n ="
    gaps = [at["memorized_rate"] - at["memorized_null"] for at in (few, many)]
    return [
        *rows,
        compare.mean(f"{claim} {int(few['n'])}", "d₁/d₂ < 1/3", gaps[0], 0.0, relation="≥"),
        compare.mean(f"{claim} {int(many['n'])}", "d₁/d₂ < 1/3", gaps[1], 0.0, scale=1.0),
    ]


def _conditions(data: xr.Dataset, at: dict[str, Any]) -> str:
    """Where theory's conditions end along x, in one row of the map."""
    found = [f"{LINES[name][0]}: {place:.3g}" for name, place in ends(data, at).items() if np.isfinite(place)]
    return "theory's conditions end at  " + ", ".join(found) if found else "no condition ends here"


def describe(data: xr.Dataset) -> str:
    """What the index and theory's lines mean, where there is no boundary, and how training went."""
    x, others = data.attrs["x"], [data.attrs[axis] for axis in "yz" if data.attrs[axis]]
    missing = []
    for _, at in places(data, others):
        found = data.sel(at)
        if not np.isfinite(found["boundary"]):
            share = float(found["boundary_found"])
            where = ", ".join(f"{name} = {value:g}" for name, value in at.items())
            missing.append(f"{where} (one in {share:.0%} of resamples)" if share else where)
    failed = int((data["finite"] == 0).sum())
    paragraphs = [
        f"{data.attrs['data']}: f_gt is the {data.attrs['truth']}. Boundary in {x}: where the index D_gt/(D_gt + D_emp)"
        f" {passes(data)}, of the mean over {data.sizes['seed']} seeds, with its 95 % bootstrap band; beside it where"
        " theory's conditions end:",
        *(f"  {label}: {meaning}" for label, meaning in LINES.values()),
        *([f"no boundary in {x} at {'; '.join(missing)}"] if missing else []),
        f"padding widths to buckets: {data.attrs['padding']:.2f} times the arithmetic; diverged runs: {failed}",
        *_polished(data),
    ]
    return launch.wrap("\n".join(paragraphs))


def _polished(data: xr.Dataset) -> list[str]:
    if "polished" not in data:
        return []
    converged, steepness = float((data["polished"] == 1).mean()), data["gradient_norm"]
    return [
        f"polished on the exact objective: {converged:.0%} to a gradient of {POLISHED:g}; gradient left: median"
        f" {float(steepness.median()):.0e}, largest {float(steepness.max()):.0e}"
    ]


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
