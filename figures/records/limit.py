"""What other records say of a map: where its boundary ends after training of any length, and where it is meanwhile."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dae_theory import records

MINIMIZER = "global_minimizer"
TIMES = "time_map"
SAME = ("data", "dimension", "components", "separation", "spread", "rank", "image_rank", "size", "center")
NUMBERS = ("noise_std", "weight_decay")  # of a map; axes of the minimizer's record
CHANGING = {"sigma", "lambda", "copies", "d", "K", "separation"}  # axes along which the minimizer changes


def with_limit(data: xr.Dataset, config: Mapping[str, Any], root: Path) -> xr.Dataset:
    """A phase diagram with the limit of its boundary in n, where the committed minimizer has the same settings.

    Adds the minimizer's index, `limit_index` over (limit_n, limit_seed), and as attributes either the place where it
    falls through ½ (`limit`, `limit_low`, `limit_high`, as the minimizer's record says) or `limit_beyond`, the largest
    n, where it is still above. Neither where settings differ, or n is no axis: then the limit is not known.
    """
    folder = root / MINIMIZER
    if data.attrs["x"] != "n" or not (folder / "manifest.json").is_file():
        return data
    minimizer, manifest = records.read(folder)
    same = _same_data(config, manifest["config"]) and all(config[name] in minimizer[name] for name in NUMBERS)
    axes = {data.attrs[axis] for axis in "xyz"}
    if not same or axes & CHANGING or config["copies"] != 1 or config["tied"]:
        return data
    minimizer = minimizer.sel({name: config[name] for name in NUMBERS}, drop=True)
    index = minimizer["index"].rename(n="limit_n", seed="limit_seed")
    if np.isfinite(minimizer["limit"]):
        attributes = {name: float(minimizer[name]) for name in ("limit", "limit_low", "limit_high")}
    elif float(index.isel(limit_n=-1).mean()) > data.attrs["level"]:
        attributes = {"limit_beyond": float(index["limit_n"][-1])}
    else:
        attributes = {}
    return data.assign(limit_index=index).assign_attrs(attributes, limit_gap=float(minimizer["gap"].max()))


def with_times(data: xr.Dataset, config: Mapping[str, Any], root: Path) -> xr.Dataset:
    """A map over (n, p) with the index over (n, steps) of the record `time_map`, if data, σ and λ are the same.

    Adds `times_index` over (times_n, times_steps, times_seed) and its boundary over times_steps; as attributes the
    width of its nets, `times_p`, and for how many steps the nets of the map itself were trained, `times_trained`.
    """
    folder = root / TIMES
    if [data.attrs[axis] for axis in "xyz"] != ["n", "p", ""] or not (folder / "manifest.json").is_file():
        return data
    times, manifest = records.read(folder)
    other = manifest["config"]
    if not _same_data(config, other) or any(config[name] != other[name] for name in (*NUMBERS, "copies", "tied")):
        return data
    names = {"train_index": "times_index"} | {f"boundary{end}": f"times_boundary{end}" for end in ("", "_low", "_high")}
    shown = times[list(names)].drop_vars("time").rename(names)
    shown = shown.rename({name: f"times_{name}" for name in ("n", "steps", "seed")})
    return data.merge(shown).assign_attrs(data.attrs, times_p=other["p"], times_trained=config["steps"])


def _same_data(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one[name] == other[name] for name in SAME)
