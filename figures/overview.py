"""Few images: each is stored in a column, one neuron answers. Many: columns are statistics, many neurons share it.

Drawn from the record of `representations`: a noisy image, the representation, the columns that answer most, the output.
"""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from figures.look import pictures, style

LOOKS = (("few", "#D55E00", "memorizing"), ("many", "#0072B2", "generalizing"))
NEURONS = 40
SILENT = 1e-3


def draw(data: xr.Dataset) -> Figure:
    """Two rows: input, bars, columns, output."""
    name = next(name for name in data["kind"].values if "centred" in str(name))
    at, side = data.sel(kind=name), int(data.attrs["side"])
    figure, grid = plt.subplots(2, 4, figsize=(style.PAGE, 2.6), width_ratios=(0.8, 1.9, 4.1, 0.8))
    top = float(at["bars"].max())
    for row, (regime, color, words) in zip(grid, LOOKS, strict=True):
        one, n = at.sel(regime=regime), int(at["samples"].sel(regime=regime))
        limits = (-1.2, 1.2)
        pictures.strip(
            row[0], [pictures.square(one["noisy"], side)], places=1, limits=limits, below=["noisy image $y$"]
        )
        order = np.argsort(-one["bars"].values)
        row[1].bar(np.arange(1, NEURONS + 1), np.pad(one["bars"].values[order], (0, NEURONS))[:NEURONS], color=color)
        row[1].set(ylim=(0, 1.05 * top), ylabel="$h_j$", xlabel="neuron $j$, by activation")
        row[1].set_title(f"{words}, $n={n}$", loc="left")
        columns = list(pictures.square(one["column"], side))
        below = [f"$h={value:.2g}$" if value > SILENT else "" for value in one["bars"].values[order][: len(columns)]]
        shown = [
            c if h > SILENT else np.full_like(c, np.nan)
            for c, h in zip(columns, one["bars"].values[order], strict=False)
        ]
        pictures.strip(row[2], shown, places=len(columns), below=below)
        row[2].set_title("the columns that answer most, $w_j$", loc="left")
        pictures.strip(
            row[3], [pictures.square(one["denoised"], side)], places=1, limits=limits, below=["output $f(y)$"]
        )
    return figure
