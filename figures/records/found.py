"""Which record a figure is drawn from, and the rows of it that belong to the figure."""

from pathlib import Path
from typing import Any

import xarray as xr

from dae_theory import compare, records
from figures.records import limit

DRAWN_FROM = {  # figures of another sim's record; its rows stand with that sim's figure
    "overview": "representations",
    "at_a_glance": "phase_diagram",
}
MADE_BY = {  # figures with a record of their own, made by a sim of another name
    "phase_times": "phase_diagram",
    "time_map": "phase_diagram",
    "minimizer_axes": "global_minimizer",
    "minimizer_gaps": "global_minimizer",
    "memorization_time_images": "memorization_time",
    "memorization_time_long": "memorization_time",
}


def folder(root: Path, name: str) -> Path:
    """Where the record of a figure is."""
    return root / DRAWN_FROM.get(name, name)


def sim(name: str) -> str:
    """The sim that makes the record of a figure."""
    return MADE_BY.get(name, DRAWN_FROM.get(name, name))


def read(folder: Path, root: Path) -> tuple[xr.Dataset, dict[str, Any]]:
    """A record as it is drawn, with its manifest: a phase diagram has its limit and times from those under `root`."""
    data, manifest = records.read(folder)
    if manifest["name"] == "phase_diagram":
        data = limit.with_limit(data, manifest["config"], root)
        data = limit.with_times(data, manifest["config"], root)
    return data, manifest


def rows(name: str, data: xr.Dataset) -> list[compare.Row]:
    """What the figure's record says of its claims; nothing for a second figure of one record."""
    return [] if name in DRAWN_FROM else compare.kept(data)
