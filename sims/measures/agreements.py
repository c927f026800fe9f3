"""One prediction of an index beside the measured one, cell by cell, as rows."""

import numpy as np
import xarray as xr

from dae_theory import compare


def rows(words: str, label: str, predicted: xr.DataArray, measured: xr.DataArray) -> list[compare.Row]:
    """R² and the largest miss over the cells that have both; no row where fewer than two have."""
    predicted, measured = xr.broadcast(predicted, measured)
    both = np.isfinite(predicted.values) & np.isfinite(measured.values)
    if both.sum() < 2:
        return []
    found = compare.agreement(predicted.values[both], measured.values[both])
    where = f"{words}, {found.cells} cells"
    return [
        compare.number(f"R² of {where}", label, found.r_squared),
        compare.number(f"largest miss of {where}", label, found.largest_miss),
    ]
