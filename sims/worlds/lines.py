"""Theory's conditions as lines over the axes of a phase diagram: what must hold where a net memorizes by (9)."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from dae_theory import boundary, theory
from dae_theory.grid import Grid
from dae_theory.randomness import derive
from sims.worlds.axes import coordinates, fine_values
from sims.worlds.sources import FRESH, Source, World

LINES = {
    "width": ("p = n", "every sample needs a neuron of its own, Cor. 3.2"),
    "angle": ("n = d + 1", "no more samples than that have pairwise negative cosines, Def. 3.1"),
    "isolation": ("one foreign neuron fires", "beyond it a noisy sample opens another sample's gate, on average"),
    "decay": ("nλ = ‖x‖²", "the weight decay erases a sample of mean norm, Cor. 3.2"),
    "allocation": ("equal objective", "best block allocation and memorizing cost the same, if gates were right"),
}


def lines(
    key: jax.Array, config: Any, source: Source, axes: Mapping[str, np.ndarray], *, pool: int, fresh: int
) -> xr.Dataset:
    """Conditions over a fine mesh of the axes: positive where memorizing is allowed, zero on the line.

    Args:
        key: root of the worlds' randomness; those of seed 0 are used.
        config: with a field for every axis that is not swept.
        source: of the worlds.
        axes: those of the diagram; the mesh is along `fine_NAME` of each, fine along the two that are drawn, and at
            a third one's own values.
        pool: size of the diagram's pools, so that its program draws these worlds too.
        fresh: its held-out samples, likewise; as many, at least `FRESH`, are behind the mean norm and the share of
            foreign neurons that fire.
    """
    drawn = list(axes)[:2]
    mesh = {name: fine_values(name, values) if name in drawn else values for name, values in axes.items()}
    grid = Grid(**{f"fine_{name}": values for name, values in mesh.items()})
    points = {name.removeprefix("fine_"): values for name, values in grid.points().items()}
    at = coordinates(config, points, source.dimension)
    place = np.stack([at[name] for name in ("d", "K", "separation", "sigma")], axis=1)
    distinct, inverse = np.unique(place, axis=0, return_inverse=True)
    conditions = {name: np.full(grid.size, np.nan) for name in LINES}
    worlds: dict[tuple[float, ...], World] = {}
    for k, (dimension, components, separation, sigma) in enumerate(distinct):
        here = np.flatnonzero(inverse.ravel() == k)
        place = {"d": dimension, "K": components, "separation": separation}
        own = dimension, components, separation
        if own not in worlds:
            worlds[own] = source.draw(derive(key, "world", 0), place, pool, max(fresh, FRESH))
        world = worlds[own]
        wrong = np.array(theory.gate_error(world.fresh, noise_std=sigma).wrong)
        firing = wrong[~np.eye(len(wrong), dtype=bool)].mean()
        radius = jnp.sqrt(jnp.mean(jnp.sum(world.fresh**2, axis=1)))
        points = (jnp.asarray(at[name][here], float) for name in ("n", "p", "lambda", "copies"))
        fixed = (jnp.asarray(value, float) for value in (firing, radius, dimension, sigma))
        for name, values in _over_points(*points, world.spectrum, *fixed).items():
            conditions[name][here] = values
    dataset = grid.dataset({f"condition_{name}": values for name, values in conditions.items()})
    for name, (label, meaning) in LINES.items():
        dataset[f"condition_{name}"].attrs = {"label": label, "meaning": meaning}
    return dataset


def _conditions(n, p, decay, copies, spectrum, firing, radius, dimension, noise_std) -> dict[str, jax.Array]:
    """Theory's conditions at one point, under the names of `LINES`."""
    return {
        "width": theory.width_condition(n, p),
        "angle": theory.angle_condition(n, dimension),
        "isolation": theory.isolation_condition(n, firing),
        "decay": theory.decay_condition(n + copies - 1, radius, decay),
        "allocation": theory.allocation_condition(spectrum, n, p, noise_std=noise_std, weight_decay=decay),
    }


_over_points = jax.jit(jax.vmap(_conditions, in_axes=(0,) * 4 + (None,) * 5))


def ends(data: xr.Dataset, at: Mapping[str, float]) -> dict[str, float]:
    """Line -> where its condition becomes false along x, at a place on the other axes; NaN where it does not."""
    along = f"fine_{data.attrs['x']}"
    found = {}
    for name in LINES:
        fine = {f"fine_{axis}": value for axis, value in at.items()}
        curve = data[f"condition_{name}"].sel(fine, method="nearest")
        found[name] = boundary.crossing(curve[along].values, curve.values, 0.0)
    return found
