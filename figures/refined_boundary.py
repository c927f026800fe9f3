"""The boundary located in rounds: nets go where its band is widest, and at equal cost the band is narrower.

Left: geometric mean over the lines of log(high/low), the 95 % band of the boundary in n, against the nets spent so far;
filled circles: rounds, the first on a coarse grid; open square: a uniform grid in log n at equal cost. Bands know the
noise of the nets, not the error of drawing straight lines between two n, which is largest on the coarse grid.
Right: where the nets of the rounds went (grey, area by how many) and the boundary of every width with its band; open
squares: the same from the uniform grid of equal cost. At one n the lines share their data.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from figures.look import style

LOOKS: dict[str, dict[str, Any]] = {
    "refined": {"color": "#0072B2", "marker": "o", "label": "in rounds"},
    "uniform": {"color": "#D55E00", "marker": "s", "markerfacecolor": "white", "label": "uniform grid"},
}


def draw(data: xr.Dataset) -> Figure:
    """Cost against band, and the boundary of every width."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(style.PAGE, 3.0))
    _costs(left, data)
    _boundaries(right, data)
    figure.suptitle(
        f"{data.attrs['data']}: {int(data['refined_cost'][-1])} nets in rounds, {int(data['uniform_cost'][-1])} on a"
        f" uniform grid, {data.attrs['steps']} steps each",
        x=0.01,
        ha="left",
        fontsize="medium",
    )
    return figure


def _costs(axes: Axes, data: xr.Dataset) -> None:
    ends = [data[f"{name}_width"].isel({f"{name}_stage": -1}).values for name in LOOKS]
    shared = np.isfinite(ends).all(axis=0)
    for name, look in LOOKS.items():
        widths = data[f"{name}_width"].values[:, shared]
        widths = np.where(np.isfinite(widths), widths, np.nan)
        axes.plot(data[f"{name}_cost"], np.exp(np.log(widths).mean(axis=1)), **look)
    axes.set(xlabel="nets", ylabel="log(high/low), mean of lines", ylim=(0, None))
    axes.legend()
    style.panel_letter(axes, "a", f"band of the boundary, {int(shared.sum())} lines")


def _boundaries(axes: Axes, data: xr.Dataset) -> None:
    widths = data["p"].values
    went, count = np.unique(
        np.stack([data["refined_n_of"].values, data["refined_p_of"].values]), axis=1, return_counts=True
    )
    axes.scatter(went[0], np.searchsorted(widths, went[1]), s=6 * count, color="0.8", zorder=0)
    for shift, (name, look) in zip((0.12, -0.12), LOOKS.items(), strict=True):
        at = data.isel({f"{name}_stage": -1})
        middle = at[f"{name}_location"].values
        spread = np.abs(np.stack([middle - at[f"{name}_low"].values, at[f"{name}_high"].values - middle]))
        axes.errorbar(middle, np.arange(len(widths)) + shift, xerr=spread, linestyle="", **look)
    coarse = np.unique(data["refined_n_of"].values[data["refined_round"].values == 0])
    axes.set(xscale="log", xlabel="samples $n$", ylabel="neurons $p$", ylim=(-0.6, len(widths) + 0.4))
    axes.xaxis.set_major_locator(FixedLocator(coarse.tolist()))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_yticks(range(len(widths)), [f"{p}" for p in widths])
    for nets in (int(count.min()), int(count.max())):
        axes.scatter([], [], s=6 * nets, color="0.8", label=f"{nets} nets")
    axes.legend(loc="upper right", ncols=2)
    style.panel_letter(axes, "b", f"index = {data.attrs['level']:g}, and where nets went")
