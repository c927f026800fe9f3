"""Where the boundary of a map ends after training of any length: what the record of the minimizer says of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dae_theory import records

MINIMIZER = "global_minimizer"
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
    same = all(config[name] == manifest["config"][name] for name in SAME)
    same = same and all(config[name] in minimizer[name] for name in NUMBERS)
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
