"""The minimizer over all widths as noise σ and decay λ grow: decay prunes its neurons, noise adds some.

Rows: few samples and more of them. Left: its index at noisy training points; above ½ it memorizes. Middle: how many
neurons it uses; dotted, one a sample; dashed, as many as the trained nets have. Right: how far those nets stop above it
after training at a decaying rate. Means and standard errors over data sets; a minimizer that misses its tolerance is
white and has its largest gap beside it.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from figures.look import style

LOOKS: tuple[dict[str, Any], ...] = (
    {"color": "#56B4E9", "marker": "o"},
    {"color": "#0072B2", "marker": "s"},
    {"color": "#08306B", "marker": "D"},
    {"color": "#D55E00", "marker": "v"},
)
APART = 4  # times more samples in the lower row


def draw(data: xr.Dataset) -> Figure:
    """Index, neurons and excess of trained nets over λ, a line a σ, a row a size of the data sets."""
    p, n = int(data.attrs["studied"]), data["n"].values
    few = int(n[np.argmin(np.abs(np.log(n * APART / n[-1])))])
    figure, grid = plt.subplots(2, 3, figsize=(style.PAGE, 4.6), sharex=True, sharey="col")
    nets = data["net_objective"].sel(p=p, schedule="decaying").isel(steps=-1)
    above = 100 * (nets / data["objective"] - 1)
    for row, size in zip(grid, (few, int(n[-1])), strict=True):
        for axes, values in zip(row, (data["index"], data["neurons"], above), strict=True):
            _lines(axes, values.sel(n=size), data["gap"].sel(n=size), data.attrs["tolerance"])
        index, neurons, excess = row
        index.axhline(0.5, color="0.5", ls=":", lw=0.9, zorder=0)
        for level, line, words in ((size, ":", f"n = {size}"), (p, "--", f"p = {p}")):
            neurons.axhline(level, color="0.5", ls=line, lw=0.9, zorder=0)
            neurons.annotate(
                words, (1, level), (2, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center"
            )
        index.set(ylabel=f"n = {size} samples\nindex, 1 = memorizing", ylim=(0, 1))
        neurons.set(ylabel="neurons", yscale="log")
        excess.set(ylabel="above the minimizer, %", yscale="log")
        for axes in (neurons, excess):
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=20))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_locator(NullLocator())
    titles = ("minimizer: memorizes?", "minimizer: neurons", f"nets, p = {p}, {int(nets['steps']):,} steps")
    for letter, axes, title in zip("abc", grid[0], titles, strict=True):
        style.panel_letter(axes, letter, title)
    decays = data["weight_decay"].values
    for axes in grid[1]:
        axes.set(xscale="log", xlabel=r"weight decay $\lambda$")
        axes.set_xticks(decays, [f"{value:g}" for value in decays])
        axes.minorticks_off()
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(LOOKS))
    figure.suptitle(
        f"{data.attrs['data']}, d = {data.attrs['dimension']}; {data.sizes['seed']} data sets a point; minimizers to a "
        f"gap of {100 * data.attrs['tolerance']:g} %",
        x=0.01,
        ha="left",
        fontsize="medium",
    )
    return figure


def _lines(axes: Axes, values: xr.DataArray, gap: xr.DataArray, tolerance: float) -> None:
    """Means and standard errors over data sets, a line for every σ; white where a search missed its tolerance."""
    for look, sigma in zip(LOOKS, values["noise_std"].values, strict=False):
        at, worst = values.sel(noise_std=sigma), gap.sel(noise_std=sigma).max("seed").values
        decays, middle = at["weight_decay"].values, at.mean("seed").values
        error = (at.std("seed", ddof=1) / np.sqrt(at.sizes["seed"])).values
        axes.errorbar(decays, middle, error, capsize=2, label=rf"noise std $\sigma$ = {sigma:g}", **look)
        for place in np.flatnonzero(worst > tolerance):
            point = decays[place], middle[place]
            axes.plot(*point, ls="", **{**look, "markerfacecolor": "white", "zorder": 4})
            words = f"gap {100 * worst[place]:.1f} %"
            axes.annotate(words, point, (4, 4), textcoords="offset points", color=look["color"])
