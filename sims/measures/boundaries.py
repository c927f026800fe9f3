"""Where nets of a phase diagram stop memorizing along its x axis, or start to, in time."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr

from dae_theory import boundary, compare
from sims.worlds.axes import AXES

INDEX = "train_index"  # D_gt/(D_gt + D_emp) at noisy training points: 1 = memorizing
LEVEL = 0.5
LIMITS = {"limit": "location", "limit_low": "low", "limit_high": "high"}
LOW, HIGH = 0.45, 0.55  # a curve that never comes down (or, in time, up) to this stays on one side


def with_boundary(data: xr.Dataset) -> xr.Dataset:
    """The record, with which analytic Jacobian every net is nearer to, and the boundary in x for the other axes.

    `match` is 1 at the spiky solution (9), 0 at the balanced one (Cor. 3.3). `boundary` is where the mean index over
    seeds falls through the level on its way to `low` or less (in time: rises through it on its way to `high` or more),
    with `boundary_low` and `boundary_high`, the ends of its 95 % bootstrap band, and `boundary_found`, the share of
    resamples that have one.
    """
    spiky, balanced = data["error_against_spiky"], data["error_against_balanced"]
    data = data.assign(match=balanced / (spiky + balanced)).assign_attrs(level=LEVEL, low=LOW, high=HIGH)
    x, others = data.attrs["x"], [data.attrs[axis] for axis in "yz" if data.attrs[axis]]
    sign, beyond = (-1, HIGH) if AXES[x].rises else (1, LOW)  # what rises falls upside down
    shape = tuple(data.sizes[name] for name in others)
    found = {name: np.full(shape, np.nan) for name in ("location", "low", "high", "found")}
    for place, at in places(data, others):
        curves = sign * data[INDEX].sel(at).transpose("seed", x).values
        located = boundary.locate(jax.random.key(0), data[x].values, curves, sign * LEVEL, below=sign * beyond)
        for name, values in found.items():
            values[place] = getattr(located, name)
    names = {"location": "boundary"} | {name: f"boundary_{name}" for name in ("low", "high", "found")}
    return data.assign({names[name]: (tuple(others), values) for name, values in found.items()})


def places(data: xr.Dataset, names: Sequence[str]) -> Iterator[tuple[tuple[int, ...], dict[str, Any]]]:
    """Every place on some axes, as indices and as values."""
    for place in np.ndindex(*(data.sizes[name] for name in names)):
        yield place, {name: data[name].values[i] for name, i in zip(names, place, strict=True)}


def passes(data: xr.Dataset) -> str:
    """How the index goes through the level at a boundary, in words."""
    if AXES[data.attrs["x"]].rises:
        return f"rises above {LEVEL:g} on its way to {HIGH:g} or more"
    return f"falls below {LEVEL:g} on its way to {LOW:g} or less"


def with_limits(data: xr.Dataset) -> xr.Dataset:
    """The record with the n at which the minimizer's index falls through ½, for every σ and λ: `limit`, its band.

    That is where boundaries in n end, however wide nets are and however long they train. A minimizer's index falls
    smoothly, so no lower value has to be reached behind the level. NaN where it does not fall so far.
    """
    samples, others = data["n"].values, ["noise_std", "weight_decay"]
    found = {name: np.full([data.sizes[axis] for axis in others], np.nan) for name in LIMITS}
    for place, at in places(data, others):
        if len(samples) > 1:
            curves = data["index"].sel(at).transpose("seed", "n").values
            located = boundary.locate(jax.random.key(0), samples, curves, LEVEL)
            for name, part in LIMITS.items():
                found[name][place] = getattr(located, part)
    return data.assign({name: (others, values) for name, values in found.items()})


def limits(data: xr.Dataset) -> Iterator[compare.Row]:
    """The end of the boundary for every σ and λ, or the index at the largest n where it is not reached."""
    label, largest = "(3), (4), (6)", int(data["n"].max())
    for _, at in places(data, ["noise_std", "weight_decay"]):
        cell, where = data.sel(at), words(data, at)
        if np.isfinite(cell["limit"]):
            claim = f"n at which the minimizer's index falls through ½: limit of the boundary{where}"
            yield compare.interval(claim, label, *(cell[name] for name in LIMITS))
        else:
            claim = f"index of the minimizer at n = {largest}, the largest; up to there it does not fall through ½"
            yield compare.mean(f"{claim}{where}", label, cell["index"].sel(n=largest))


def words(data: xr.Dataset, at: Mapping[str, Any]) -> str:
    """At which σ and λ, where the record has several."""
    names = [(name, sign) for name, sign in (("noise_std", "σ"), ("weight_decay", "λ")) if data.sizes[name] > 1]
    return "".join(f", {sign} = {at[name]:g}" for name, sign in names)
