"""Rows under their old names, until every figure prints those that its record keeps."""

from typing import Any

import xarray as xr

from dae_theory.compare import Relation, Row, cells, interval, kept, mean, number, reproduced, share, text

__all__ = ["Relation", "Row", "cells", "interval", "mean", "number", "reproduced", "rows", "share", "text"]


def rows(module: Any, data: xr.Dataset) -> list[Row]:
    """Those that the record keeps; where the figure still judges, the figure's."""
    return list(module.summary(data)) if hasattr(module, "summary") else kept(data)
