"""Which record a figure is drawn from, and the rows of it that belong to the figure."""

import importlib
from pathlib import Path
from typing import Any

import xarray as xr

from figures import _summary

DRAWN_FROM = {"overview": "representations"}  # figures of another sim's record; its rows stand with that sim's figure


def folder(root: Path, name: str) -> Path:
    """Where the record of a figure is."""
    return root / DRAWN_FROM.get(name, name)


def rows(name: str, data: xr.Dataset) -> list[Any]:
    """What the figure's record says of its claims; nothing for a second figure of one record."""
    if name in DRAWN_FROM:
        return []
    return _summary.rows(importlib.import_module(f"figures.{name}"), data)
