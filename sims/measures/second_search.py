"""Minimizers searched for a second time, from other starts and to a third of the gap: how far the first ones hold.

The minimizing function is unique, and P is ‖·‖² plus a convex part: a net is within √(P − P*) of it. Two nets f₁, f₂ of
the same data, with D the higher of their two bounds [X6], are therefore no further apart than

    √E‖f₁ − f₂‖² ≤ √(P₁ − D) + √(P₂ − D).

How much closer they are, and how far the index moves from the first to the second, says what the gap leaves open.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from dae_theory import compare
from sims import launch
from sims.measures import boundaries, excess, index, minimizers
from sims.measures.index import Place

SHARPER = 3  # times smaller is the gap to which the second search goes
SEED = 1  # of its starts; those of the first have 0
ROUNDING = 1e-12  # of the objective: excesses below it, and distances of this order, are rounding
NAMES = ("objective", "lower_bound", "gap", "neurons")


def found(
    run: launch.Run,
    x: np.ndarray,
    places: Sequence[Place],
    first: Sequence[Any],
    searches: minimizers.Searches,
    count: int,
    indices: Any,
) -> dict[str, np.ndarray]:
    """`second_…` at every place, NaN beyond the first `count` data sets of each size; nothing for a count of 0.

    Args:
        run: of the sim.
        x: samples of all worlds, (worlds, n, d).
        places: of all minimizers.
        first: the minimizers that were found before, one a place.
        searches: how long the first search went.
        count: data sets.
        indices: nets, places -> the index of each.
    """
    chosen = [k for k, at in enumerate(places) if at.world < count]
    if not chosen:
        return {}
    here = [places[k] for k in chosen]
    sharper = replace(searches, tolerance=searches.tolerance / SHARPER)
    numbers, nets = minimizers.found(run, x, here, sharper, part="second", seed=SEED)
    told = {name: numbers[name] for name in NAMES} | {
        "distance": index.distances(x, nets, [first[k] for k in chosen], here),
        "index": indices(nets, here),
    }
    everywhere = {}
    for name, values in told.items():
        everywhere[f"second_{name}"] = np.full(len(places), np.nan)
        everywhere[f"second_{name}"][chosen] = values
    return everywhere


def rows(data: xr.Dataset) -> Iterator[compare.Row]:
    """How far two searches of the same data are apart, the gaps they reach, and what that moves."""
    if "second_objective" not in data:
        return
    bound = np.maximum(data["lower_bound"], data["second_lower_bound"])
    excesses = (data[name] - bound for name in ("objective", "second_objective"))
    allowed = sum(np.sqrt(np.maximum(over, ROUNDING * data["objective"])) for over in excesses)
    yield compare.number(
        "two searches of the same data: exact distance over what their gaps allow, largest",
        "[X6]  √E‖f₁ − f₂‖² ≤ √(P₁ − D) + √(P₂ − D)",
        (np.sqrt(np.maximum(data["second_distance"], 0)) / allowed).max(),  # below zero: rounding
        1.0,
        relation="≤",
    )
    sharper = data.attrs["tolerance"] / SHARPER
    for _, at in boundaries.places(data, ["noise_std", "weight_decay", "n"]):
        cell = data.sel(at)
        where = f"n = {at['n']}{boundaries.words(data, at)}"
        yield compare.number(
            f"{where}: largest gap of a second search, from other starts",
            "[X6]",
            cell["second_gap"].max(),
            sharper,
            relation="≤",
        )
        moved = abs(cell["second_index"] - cell["index"]).max()
        yield compare.number(f"{where}: index of the second minimizer less that of the first, largest", "(6)", moved)
    yield from _shares(data)


def _shares(data: xr.Dataset) -> Iterator[compare.Row]:
    """By how much each share of the missing index moves where the second minimizer takes the place of the first."""
    both = data.isel(seed=np.flatnonzero(data["second_index"].notnull().all(("noise_std", "weight_decay", "n"))))
    for _, at in boundaries.places(both, ["noise_std", "weight_decay"]):
        cell = both.sel(at)
        other = excess.with_paths(cell.assign(index=cell["second_index"]))
        moved = abs(excess.shares(other, "index") - excess.shares(cell, "index")).max("seed")
        for stage in excess.REASONS:
            claim = f"share of the missing index that {excess.SHORT[stage]} takes: how far a second minimizer moves it"
            where = boundaries.words(data, at)
            yield compare.number(f"{claim}, largest{where}", "(3), (4), (6)", moved.sel(stage=stage))
