"""Why trained nets are above the minimizer, as rows: which share of the excess each experiment removes.

For nets of one width the excess objective and the distance of their index from the minimizer's are sums over a path:

trained → longer      ten times (or so) as many steps, at a rate that decays                       time
longer → settled      down the exact objective, which has no noise, to a stationary point         the optimizer
settled → exchanged   smallest neurons replaced by newcomers that pull more                        local minima
exchanged → L*        what no step at this width removes                                            width

The exchange is a search: local minima make up at least the third share of the objective, width at most the last.
"""

from collections.abc import Iterator

import numpy as np
import xarray as xr

from dae_theory import compare
from sims.measures import agreements, boundaries

LEAST = 8  # samples from which on shares are formed: below, nets are so close that there is little to explain
GROWING = 1e-3  # excess of the pull on a newcomer over λ from which on it counts as growing
STAGES = ("trained", "longer", "settled", "exchanged", "minimizer")
REASONS = {
    "longer": "a longer run at a decaying rate removes: time",
    "settled": "exact descent from there removes: the optimizer's noise, and its last steps",
    "exchanged": "newcomers in place of neurons remove: local minima",
    "minimizer": "is left, which more neurons remove: width",
}
SHORT = {"longer": "time", "settled": "the optimizer's noise", "exchanged": "local minima", "minimizer": "width"}


def with_paths(data: xr.Dataset) -> xr.Dataset:
    """The record with `path_objective` and `path_index`: from the trained nets to the minimizer, over stage."""
    paths = {}
    for name in ("objective", "index"):
        nets = data[f"net_{name}"].sel(p=data.attrs["studied"], schedule="decaying", drop=True)
        parts = [nets.isel(steps=back, drop=True) for back in (-2, -1)]
        parts += [data[f"{stage}_{name}"] for stage in ("settled", "exchanged")]
        paths[f"path_{name}"] = xr.concat([*parts, data[name]], "stage")
    return data.assign(paths).assign_coords(stage=list(STAGES))


def shares(data: xr.Dataset, name: str) -> xr.DataArray:
    """Which share of the way from the trained nets to the minimizer each stage makes; they sum to 1.

    Data sets of one seed are parts of each other: shares are of the sums over n, one a seed (and σ, λ).
    """
    way = data[f"path_{name}"].sel(n=_samples(data)).sum("n")
    return way.diff("stage") / (way.sel(stage="minimizer") - way.sel(stage="trained"))


def rows(data: xr.Dataset) -> Iterator[compare.Row]:
    """The experiments, at every σ and λ."""
    for _, at in boundaries.places(data, ["noise_std", "weight_decay"]):
        cell, where = data.sel(at), boundaries.words(data, at)
        yield from _standing(cell, where)
        yield from _reasons(cell, where)
        yield from _widths(cell, where)
        yield from _agreements(cell, where)
    yield from _reached(data)


def _samples(data: xr.Dataset) -> list[int]:
    return [int(n) for n in data["n"].values if n >= LEAST] or [int(n) for n in data["n"].values]


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values))


def _standing(data: xr.Dataset, where: str) -> Iterator[compare.Row]:
    """Objective and index of the studied nets beside the minimizer's, for every n."""
    nets = data.sel(p=data.attrs["studied"], schedule="decaying").isel(steps=-2)
    which = f"p = {data.attrs['studied']} after {int(nets['steps'])} steps"
    for n in data["n"].values:
        at, net = data.sel(n=n), nets.sel(n=n)
        yield compare.mean(
            f"n = {n}: objective of nets with {which} over the minimizer's{where}",
            "(6)",
            net["net_objective"] / at["objective"],
        )
        yield compare.mean(
            f"n = {n}: index of the minimizer less that of the same nets{where}",
            "(3), (4), (6)",
            at["index"] - net["net_index"],
        )


def _reasons(data: xr.Dataset, where: str) -> Iterator[compare.Row]:
    """Which experiment removes which share, and whether a newcomer still grows at the end of them."""
    short, long = (int(steps) for steps in data["steps"].values[-2:])
    at = f"p = {data.attrs['studied']}, {short} steps, n = {_listed(_samples(data))}{where}"
    for name, label, words in (
        ("objective", "(6)", "excess objective"),
        ("index", "(3), (4), (6)", "index missing to the minimizer's"),
    ):
        found = shares(data, name)
        for stage, reason in REASONS.items():
            reason = reason.replace("a longer run", f"a run of {long} steps")
            yield compare.mean(f"share of the {words} ({at}) that {reason}", label, found.sel(stage=stage))
    yield from _bounded(data, at)
    growth = data["exchanged_growth"].sel(n=_samples(data))
    claim = f"nets at the end of these experiments at which a newcomer grows: more neurons would lower them{where}"
    yield compare.share(claim, "[X5]  G > λ", (growth > 1 + GROWING).sum(), growth.size)
    slope = max(float(data[f"{stage}_gradient"].max()) for stage in ("early", "settled"))
    yield compare.number(f"largest gradient norm that exact descent leaves{where}", "(6)  ∂L = 0", slope)


def _bounded(data: xr.Dataset, at: str) -> Iterator[compare.Row]:
    """How far the minimizer's own gap may move the shares of the objective: were it at its lower bound."""
    path = data["path_objective"]
    lowest = path.where(path["stage"] != "minimizer", data["lower_bound"])
    found = shares(data.assign(path_lowest=lowest), "lowest")
    for stage, words in (("longer", "at least"), ("minimizer", "at most")):
        claim = f"share of the excess objective ({at}) that {SHORT[stage]} takes {words}: were L* at its lower bound"
        yield compare.mean(claim, "[X6]  D ≤ L* ≤ P", found.sel(stage=stage))


def _widths(data: xr.Dataset, where: str) -> Iterator[compare.Row]:
    """The same from outside: nets of every width after the longest run."""
    nets = data.sel(schedule="decaying", n=_samples(data)).isel(steps=-1)
    over = (nets["net_objective"] / data["objective"]).mean("n")
    for p in data["p"].values:
        claim = f"objective over the minimizer's, p = {p}, {int(nets['steps'])} steps at a decaying rate"
        yield compare.mean(f"{claim}, n = {_listed(_samples(data))}{where}", "(6)", over.sel(p=p))
    nets = data.sel(p=data.attrs["studied"], n=_samples(data)).isel(steps=-1)
    noise = (nets["net_objective"].sel(schedule="constant") / nets["net_objective"].sel(schedule="decaying")).mean("n")
    claim = f"objective at the constant rate over that at the one that decays, p = {data.attrs['studied']}"
    yield compare.mean(f"{claim}, {int(nets['steps'])} steps{where}", "(6)", noise)


def _agreements(data: xr.Dataset, where: str) -> Iterator[compare.Row]:
    """The minimizer's index as a prediction of that of nets, from the trained ones to the last experiment."""
    short, long = (int(steps) for steps in data["steps"].values[-2:])
    along, p = data["path_index"], data.attrs["studied"]
    for stage, words in (
        ("trained", f"nets with p = {p} after {short} steps"),
        ("longer", f"nets with p = {p} after {long} steps"),
        ("settled", "the same, settled"),
        ("exchanged", "the same, with neurons exchanged"),
    ):
        claim = f"the minimizer's index for that of {words}{where}"
        yield from agreements.rows(claim, "(3), (4), (6)", along.sel(stage="minimizer"), along.sel(stage=stage))
    if (widest := int(data["p"].max())) != p:
        nets = data["net_index"].sel(p=widest, schedule="decaying").isel(steps=-1)
        claim = f"the minimizer's index for that of nets with p = {widest} after {long} steps{where}"
        yield from agreements.rows(claim, "(3), (4), (6)", data["index"], nets)


def _reached(data: xr.Dataset) -> Iterator[compare.Row]:
    """Which share of the trained nets is at the minimizer, by width, length and schedule."""
    margin = data.attrs["margin"]
    near = data["net_objective"] <= (1 + margin) * data["objective"]
    for schedule in data["schedule"].values:
        for steps in data["steps"].values:
            for p in data["p"].values:
                at = near.sel(schedule=schedule, steps=steps, p=p)
                rate = "the constant rate" if schedule == "constant" else "a decaying rate"
                claim = f"nets within {margin:.0%} of the minimizer's objective: p = {p}, {steps} steps at {rate}"
                yield compare.share(claim, "(6)", np.sum(at.values), at.size)
