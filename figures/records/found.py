"""Which record a figure is drawn from, and the rows of it that belong to the figure."""

from pathlib import Path

import xarray as xr

from dae_theory import compare

DRAWN_FROM = {"overview": "representations"}  # figures of another sim's record; its rows stand with that sim's figure


def folder(root: Path, name: str) -> Path:
    """Where the record of a figure is."""
    return root / DRAWN_FROM.get(name, name)


def rows(name: str, data: xr.Dataset) -> list[compare.Row]:
    """What the figure's record says of its claims; nothing for a second figure of one record."""
    return [] if name in DRAWN_FROM else compare.kept(data)
