"""Where the kernel limit ends: large initial weights keep the tangent kernel, small ones learn features.

Drift of the tangent kernel over (initial scale, n), with the scale at which it is ½; drift and distance between net and
linear model against the scale; index and test loss of both, at every n. Large scale = lazy, small = rich.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from figures.look import style

LOOKS = (("o", "#0072B2"), ("s", "#D55E00"), ("^", "#000000"), ("D", "#CC79A7"), ("v", "#009E73"), ("P", "#E69F00"))
SCALE = "initial scale (norm of a column)"


def draw(data: xr.Dataset) -> Figure:
    """Kernel drift and distance above, index and test loss below."""
    figure, grid = plt.subplots(2, 2, figsize=(style.PAGE, 5.2))
    _map(figure, grid[0, 0], data)
    _laziness(grid[0, 1], data)
    _curves(grid[1, 0], data, "index")
    grid[1, 0].axhline(0.5, color="0.6", linewidth=0.7, zorder=0)
    grid[1, 0].set(ylabel="index at noisy training points\n(1 = memorizing, 0 = generalizing)", ylim=(0, 1))
    style.panel_letter(grid[1, 0], "c", "index (open: linear model)")
    _curves(grid[1, 1], data, "test_loss")
    best = float(data["best_test_loss"].mean())
    line = grid[1, 1].axhline(best, color="0.35", linestyle=":", label=rf"posterior mean $f_{{gt}}$: {best:.2g}")
    grid[1, 1].set(ylabel=r"test loss $E\|f-x\|^2$", yscale="log")
    grid[1, 1].legend(handles=[line])
    style.panel_letter(grid[1, 1], "d", "test loss (open: linear model)")
    given = data.attrs
    words = " with biases" if given.get("biases") else ""
    figure.suptitle(
        rf"{given['data']}, $d={given['dimension']}$, $p={given['width']}${words}, $\sigma={given['noise_std']:g}$,"
        rf" $\lambda=0$; {given['steps']} steps of gradient descent; mean ± SEM over {data.sizes['seed']} seeds;"
        "\noutput at initialization subtracted",
        x=0.01,
        ha="left",
        fontsize="medium",
    )
    return figure


def _map(figure: Figure, axes: Axes, data: xr.Dataset) -> None:
    """Mean drift of every cell, the ½ line with its band on it."""
    drift, sizes = data["drift"].mean("seed").transpose("n", "scale"), data["n"].values
    rows = np.arange(len(sizes))
    cells = axes.pcolormesh(
        style.edges(data["scale"]), np.arange(len(sizes) + 1) - 0.5, drift, norm=LogNorm(), rasterized=True
    )
    figure.colorbar(cells, ax=axes, label=r"kernel drift $\|K-K_0\|_F/\|K_0\|_F$")
    half = data["half"].values
    error = np.abs(np.stack([half - data["half_low"], data["half_high"] - half]))
    for color, width, size in (("black", 2.4, 6.0), ("white", 1.2, 4.0)):
        axes.errorbar(half, rows, xerr=error, fmt="o-", color=color, linewidth=width, markersize=size, capsize=0)
    axes.set(xscale="log", xlabel=SCALE, ylabel="samples $n$")
    axes.set_yticks(rows, [str(n) for n in sizes])
    _ticks(axes, data)
    style.panel_letter(axes, "a", "kernel drift (white: ½, with its band)")


def _laziness(axes: Axes, data: xr.Dataset) -> None:
    """Both against the scale, for the extreme n, with the slope of the limit."""
    scale = data["scale"].values
    for place, n in enumerate(data["n"].values):
        marker, color = LOOKS[place % len(LOOKS)]
        at = data.sel(n=n)
        _points(axes, at["drift"], color=color, fmt=f"{marker}-", label=f"$n={n}$")
        _points(axes, at["distance"], color=color, fmt=f"{marker}:", markerfacecolor="white")
    end = float(data["drift"].isel(scale=-1).mean())
    tail = scale[-3:]
    axes.plot(tail, 2 * end * scale[-1] / tail, color="0.35", linestyle="--", label=r"$\propto$ scale$^{-1}$")
    axes.axhline(0.5, color="0.6", linewidth=0.7, zorder=0)
    axes.set(xscale="log", yscale="log", xlabel=SCALE, ylabel="drift (filled), distance (open)")
    axes.legend(loc="upper right")
    _ticks(axes, data)
    style.panel_letter(axes, "b", r"drift; distance $\|f-f_{lin}\|/\|f\|$")


def _curves(axes: Axes, data: xr.Dataset, name: str) -> None:
    for place, n in enumerate(data["n"].values):
        marker, color = LOOKS[place % len(LOOKS)]
        at = data.sel(n=n)
        _points(axes, at[f"net_{name}"], color=color, fmt=f"{marker}-", label=f"$n={n}$")
        _points(axes, at[f"linear_{name}"], color=color, fmt=f"{marker}--", markerfacecolor="white", linewidth=0.9)
    axes.set(xscale="log", xlabel=SCALE)
    _ticks(axes, data)


def _points(axes: Axes, values: xr.DataArray, **look: Any) -> None:
    """Mean over seeds with its standard error."""
    sem = values.std("seed", ddof=1) / np.sqrt(values.sizes["seed"])
    axes.errorbar(values["scale"], values.mean("seed"), yerr=sem, **look)


def _ticks(axes: Axes, data: xr.Dataset) -> None:
    axes.set_xticks(data["scale"].values, [f"{scale:g}" for scale in data["scale"].values])
    axes.minorticks_off()
