"""Memorization turns into generalization: one net a cell and seed, over any two or three axes.

python -m sims.phase_diagram                      samples n × neurons p on a simplex mixture, 768 nets
python -m sims.phase_diagram --data mnist         the same on handwritten digits
python -m sims.phase_diagram --x n --y sigma      another pair of axes
"""

import json
import zlib
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from dae_theory import boundary, ensemble, theory
from dae_theory.grid import Grid
from dae_theory.randomness import derive
from dae_theory.training import Settings
from sims import launch
from sims.launch import limits
from sims.nets.cell import POLISHED, member
from sims.worlds import sources
from sims.worlds.axes import AXES, axis_values, coordinates, fine_values

AxisName = Literal["n", "p", "sigma", "lambda", "copies", "d", "K", "separation"]
INDEX = "train_index"  # D_gt/(D_gt + D_emp) at noisy training points: 1 = memorizing
LEVEL = 0.5
LOW = 0.45  # a curve that never comes down to this has no generalizing side


LINES = {
    "width": ("p = n", "every sample needs a neuron of its own, Cor. 3.2"),
    "angle": ("n = d + 1", "no more samples than that have pairwise negative cosines, Def. 3.1"),
    "isolation": ("one foreign neuron fires", "beyond it a noisy sample opens another sample's gate, on average"),
    "decay": ("nλ = ‖x‖²", "the weight decay erases a sample of mean norm, Cor. 3.2"),
    "allocation": ("equal objective", "best block allocation and memorizing cost the same, if gates were right"),
}


@dataclass(frozen=True)
class Config:
    """Train a denoising autoencoder in every cell of a grid and map where it memorizes and where it generalizes."""

    data: str = "simplex"
    """simplex | circle | sphere | torus | swiss_roll | subspaces | digits | mnist | faces | fashion | npz:FILE |
    folder:DIR"""
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
    dimension: int = 32
    """d of synthetic data, where d is no axis."""
    components: int = 4
    """K of the simplex mixture, where K is no axis."""
    separation: float = 3.0
    """Radius of the means over the spread, where separation is no axis."""
    spread: float = 1.0
    """Standard deviation of a component in each of its directions."""
    rank: int = 3
    """Directions of a component of the simplex mixture."""
    image_rank: int = 24
    """Directions of the Gaussians fitted to the classes of images, which stand in for the truth."""
    size: int | None = None
    """Side of images in pixels; default: mnist and fashion 14, faces 16, digits 8, others as they are."""
    center: bool = True
    """Subtract the mean image. Raw images share most of their direction, against the theorems' condition."""
    steps: int = 3000
    """Optimizer steps (Adam, warm-up and cosine decay)."""
    batch_size: int = 64
    """Noisy samples a step; with fewer samples each gets several draws."""
    learning_rate: float = 5e-3
    """Highest learning rate of the schedule."""
    init_scale: float = 0.3
    """Expected norm of an initial column."""
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

    @property
    def swept_components(self) -> tuple[float, ...]:
        """Values of K, where it is an axis."""
        return tuple(self.axes.get("K", ()))


SMOKE = {
    "x_values": (2.0, 8.0, 64.0),
    "y_values": (4.0, 12.0),
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
        raise ValueError(f"--x, --y and --z must be different axes; got {', '.join(names)}")
    limits.at_least(config, seeds=2, steps=1, batch_size=1, evaluation=2, n=2, p=1, rank=1, image_rank=1, polish=0)
    limits.at_least(config, copies=1, weight_decay=0, dimension=1, components=1)
    limits.above_zero(config, "noise_std", "separation", "spread", "learning_rate", "init_scale")
    if config.z_values and not config.z:
        raise ValueError(f"--z-values needs --z, the axis whose values they are; got {list(config.z_values)}")
    if config.data != "simplex" and (swept := [name for name in names if AXES[name].of_mixture]):
        raise ValueError(f"axis {swept[0]} changes the mixture, so it needs --data simplex; got --data {config.data}")
    most = sources.source(config).most_samples
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
        raise ValueError(f"--n must be at most {most} with these data; got {config.n}")
    if "n" in names and config.axes["n"].min() < 2:
        raise ValueError("--x-values must be at least 2 for axis n: the rule of nearest neighbours needs two samples")
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """All cells and seeds, one compiled program for every dimension and bucket of widths."""
    grid = Grid(**config.axes, seed=range(config.seeds))
    points = grid.points()
    source = sources.source(config)
    at = coordinates(config, points, source.dimension)
    width = ensemble.buckets(at["p"], ratio=3.0)
    samples = at["n"] + at["copies"] - 1
    # polishing pays for padding in every step, training does not
    rows = ensemble.buckets(samples, ratio=3.0) if config.polish else np.full_like(samples, samples.max())
    settings = Settings(
        learning_rate=config.learning_rate,
        init_scale=config.init_scale,
        steps=config.steps,
        batch_size=config.batch_size,
        tied=config.tied,
    )
    run.expect(grid.size, grid.size * config.steps)
    identity = np.asarray([_identity(at, points["seed"], i) for i in range(grid.size)], np.uint32)
    results: dict[str, np.ndarray] = {}
    for dimension in np.unique(at["d"]):
        worlds, world = _draw_worlds(config, source, at, points["seed"], dimension)
        of_dimension = at["d"] == dimension
        for bucket, most in np.unique(np.stack([width, rows], axis=1)[of_dimension], axis=0):
            here = np.flatnonzero(of_dimension & (width == bucket) & (rows == most))
            part = run.ensemble(
                f"d{dimension}-p{bucket}-n{most}",
                partial(
                    member,
                    seed=config.seed,
                    settings=replace(settings, width=int(bucket)),
                    rows=int(most),
                    evaluation=config.evaluation,
                    truth=source.truth_denoiser,
                    population=source.is_mixture,
                    polish=config.polish,
                ),
                {"world": world[here], "identity": identity[here]}
                | {name: at[name][here] for name in ("n", "p", "sigma", "lambda", "copies")},
                worlds,
            )
            for name, values in part.items():
                results.setdefault(name, np.full(grid.size, np.nan))[here] = np.asarray(values)
    dataset = xr.merge([grid.dataset(results), theory_lines(config, source)])
    for name in config.axes:
        dataset[name].attrs["label"] = AXES[name].label
    return dataset.assign_attrs(
        {"x": config.x, "y": config.y, "z": config.z or "", "data": config.data, "truth": source.truth_is},
        padding=float(width.sum() / at["p"].sum()),
        level=LEVEL,
        low=LOW,
    )


def _draw_worlds(
    config: Config, source: sources.Source, at: dict[str, np.ndarray], seeds: np.ndarray, dimension: int
) -> tuple[sources.World, np.ndarray]:
    """The distinct worlds of one dimension, stacked, and for every point which of them is its own (−1: none)."""
    place = np.stack([seeds, at["K"], at["separation"]], axis=1)
    here = at["d"] == dimension
    distinct, inverse = np.unique(place[here], axis=0, return_inverse=True)
    drawn = [
        source.draw(
            derive(jax.random.key(config.seed), "world", int(seed)),
            {"d": dimension, "K": components, "separation": separation},
            int(at["n"].max()),
            config.evaluation,
        )
        for seed, components, separation in distinct
    ]
    index = np.full(len(seeds), -1)
    index[here] = inverse.ravel()
    return jax.tree.map(lambda *fields: jnp.stack(fields), *drawn), index


def _identity(at: dict[str, np.ndarray], seeds: np.ndarray, i: int) -> int:
    """A number that belongs to a cell and its seed, whatever grid they stand in."""
    text = json.dumps([int(seeds[i]), {name: float(values[i]) for name, values in sorted(at.items())}])
    return zlib.crc32(text.encode())


def theory_lines(config: Config, source: sources.Source) -> xr.Dataset:
    """Theory's conditions over a fine mesh of the axes: positive where memorizing is allowed, zero on the line."""
    fine = {f"fine_{name}": fine_values(name, values) for name, values in config.axes.items()}
    grid = Grid(**fine)
    points = {name.removeprefix("fine_"): values for name, values in grid.points().items()}
    at = coordinates(config, points, source.dimension)
    place = np.stack([at[name] for name in ("d", "K", "separation", "sigma")], axis=1)
    distinct, inverse = np.unique(place, axis=0, return_inverse=True)
    conditions = {name: np.full(grid.size, np.nan) for name in LINES}
    for k, (dimension, components, separation, sigma) in enumerate(distinct):
        here = np.flatnonzero(inverse.ravel() == k)
        world = source.draw(
            derive(jax.random.key(config.seed), "world", 0),
            {"d": dimension, "K": components, "separation": separation}, 2, 512,
        )  # fmt: skip
        wrong = np.array(theory.gate_error(world.fresh, noise_std=sigma).wrong)
        firing = wrong[~np.eye(len(wrong), dtype=bool)].mean()
        radius = jnp.sqrt(jnp.mean(jnp.sum(world.fresh**2, axis=1)))
        n, p, decay, copies = (jnp.asarray(at[name][here], float) for name in ("n", "p", "lambda", "copies"))
        at_point = partial(
            _conditions, spectrum=world.spectrum, firing=firing, radius=radius, dimension=dimension, noise_std=sigma
        )
        for name, values in jax.vmap(at_point)(n, p, decay, copies).items():
            conditions[name][here] = values
    dataset = grid.dataset({f"condition_{name}": values for name, values in conditions.items()})
    for name, (label, meaning) in LINES.items():
        dataset[f"condition_{name}"].attrs = {"label": label, "meaning": meaning}
    return dataset


def _conditions(n, p, decay, copies, *, spectrum, firing, radius, dimension, noise_std) -> dict[str, jax.Array]:
    """Theory's conditions at one point, under the names of `LINES`."""
    return {
        "width": theory.width_condition(n, p),
        "angle": theory.angle_condition(n, dimension),
        "isolation": theory.isolation_condition(n, firing),
        "decay": theory.decay_condition(n + copies - 1, radius, decay),
        "allocation": theory.allocation_condition(spectrum, n, p, noise_std=noise_std, weight_decay=decay),
    }


def report(data: xr.Dataset) -> str:
    """Where the boundary lies along x, for every value of the other axes, beside theory's lines."""
    x, others = data.attrs["x"], [data.attrs[axis] for axis in ("y", "z") if data.attrs[axis]]
    curves = data[INDEX].stack(cell=others).transpose("cell", "seed", x)
    rows = []
    for cell in range(curves.sizes["cell"]):
        at = {name: curves["cell"][name].values[cell] for name in others}
        found = boundary.locate(jax.random.key(0), data[x].values, curves.values[cell], LEVEL, below=LOW)
        lines = [_line_crossing(data, name, at) for name in LINES]
        rows.append([*(f"{value:g}" for value in at.values()), _band(found), *(f"{v:.3g}" for v in lines)])
    failed = int((data["finite"] == 0).sum())
    return "\n".join(
        [
            f"{data.attrs['data']}: f_gt is the {data.attrs['truth']}",
            f"boundary in {x}: where D_gt/(D_gt + D_emp) falls below {LEVEL}, on its way to {LOW} or less (mean over"
            f" {data.sizes['seed']} seeds, 95 % bootstrap band); beside it theory's conditions",
            "",
            launch.table(rows, [*others, f"boundary in {x}", *(label for label, _ in LINES.values())]),
            "",
            *(f"  {label:<{max(len(a) for a, _ in LINES.values())}}  {meaning}" for label, meaning in LINES.values()),
            "",
            f"padding widths to buckets: {data.attrs['padding']:.2f} times the arithmetic; diverged runs: {failed}",
            *_polished(data),
        ]
    )


def _polished(data: xr.Dataset) -> list[str]:
    if "polished" not in data:
        return []
    converged, steepness = float((data["polished"] == 1).mean()), data["gradient_norm"]
    return [
        f"polished on the exact objective: {converged:.0%} to a gradient of {POLISHED:g}; gradient left: median"
        f" {float(steepness.median()):.0e}, largest {float(steepness.max()):.0e}"
    ]


def _band(found: boundary.Crossing) -> str:
    if np.isnan(found.location):
        return f"none (in {found.found:.0%} of resamples)" if found.found else "none"
    return f"{found.location:.3g} [{found.low:.3g}, {found.high:.3g}]"


def _line_crossing(data: xr.Dataset, name: str, at: dict[str, float]) -> float:
    """Where one of theory's conditions becomes false along x, at the given place on the other axes."""
    fine = {f"fine_{axis}": value for axis, value in at.items()}
    curve = data[f"condition_{name}"].sel(fine, method="nearest")
    return boundary.crossing(curve[f"fine_{data.attrs['x']}"].values, curve.values, 0.0)


SIM = launch.Sim(Config, compute, launch.unjudged, SMOKE, resolve, describe=report)


if __name__ == "__main__":
    launch.main(SIM)
