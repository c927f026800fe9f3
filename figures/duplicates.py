"""Copies decide which samples are stored, and in which order: m/m* tells survival, m‖x‖²/n − λ the time.

Left: share of samples stored against m/m*, all norms and multiplicities falling on one step at 1. Middle: squared norms
on [X3]. Right: more copies are stored earlier; times to half the final norm against the growth rate that theory gives.
"""

from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.look import shares, style

THEORY: dict[str, Any] = {"color": "#D55E00", "linewidth": 1.3}
EDGES = np.array([0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4, 1.7, 2.2, 3.0, 5.0])


def draw(data: xr.Dataset) -> Figure:
    """Survival, norms, order."""
    figure, panels = plt.subplots(1, 3, figsize=(style.PAGE, 2.7))
    ratio = (data["copies"] / data["star"]).values.ravel()
    norms = data["stored"].values.ravel()
    finite = np.isfinite(norms)  # others diverged
    _survival(panels[0], ratio[finite], norms[finite] > data.attrs["survives"])
    _norms(panels[1], data)
    _order(panels[2], data)
    return figure


def _survival(axes: Axes, ratio: np.ndarray, stored: np.ndarray) -> None:
    axes.plot([EDGES[0], 1, 1, EDGES[-1]], [0, 0, 1, 1], label="theory", **THEORY)
    for low, high in pairwise(EDGES):
        inside = (ratio >= low) & (ratio < high)
        if inside.any():
            shares.point(axes, ratio[inside].mean(), stored[inside], fmt="o", color="#0072B2")
    axes.errorbar([], [], yerr=[], fmt="o", color="#0072B2", label="samples, 95 % interval")
    axes.plot([1, 1], [0, 1], linestyle="--", color="0.2", linewidth=0.9, label=r"$m^*=n\lambda/\|x\|^2$")
    axes.set(
        xscale="log",
        xlabel="copies over threshold $m/m^*$",
        ylim=(-0.05, 1.6),
        yticks=(0, 0.5, 1),
        ylabel="share of samples stored",
    )
    axes.set_xticks([0.3, 0.5, 1, 2, 4], ["0.3", "0.5", "1", "2", "4"])
    axes.minorticks_off()
    axes.legend(loc="upper left", fontsize="x-small")
    style.panel_letter(axes, "a", "survival")


def _norms(axes: Axes, data: xr.Dataset) -> None:
    axes.plot([0, 1], [0, 1], label="theory [X3]", **THEORY)
    few = data["copies"] <= np.median(data["copies"])
    for words, chosen, marker, color in (("few copies", few, "o", "#0072B2"), ("many copies", ~few, "s", "#009E73")):
        predicted, stored = (data[name].values[chosen.values] for name in ("predicted", "stored"))
        axes.plot(predicted, stored, marker, color=color, markersize=2.5, alpha=0.6, label=words)
    axes.set(xlabel=r"predicted norm $r^2\|x\|^2$ [X3]", ylabel=r"stored norm $\|w\|^2$")
    axes.legend(
        loc="upper left", fontsize="x-small", title=f"rms difference {data.attrs['rms']:.3f}", title_fontsize="x-small"
    )
    style.panel_letter(axes, "b", f"norms, {data.sizes['seed']} nets")


def _order(axes: Axes, data: xr.Dataset) -> None:
    timed = data["timed"].values.astype(bool)
    time, rate, copies = (data[name].values[timed] for name in ("half_time", "growth_rate", "copies"))
    if timed.any():
        span = np.geomspace(rate.min(), rate.max(), 50)
        axes.plot(span, data.attrs["height"] / span, label=r"theory $\propto1/$rate, height fitted", **THEORY)
        axes.legend(loc="lower left", fontsize="x-small")
    look = {"s": 7, "cmap": "cividis_r", "zorder": 3, "linewidths": 0.2, "edgecolors": "0.3"}
    scatter = axes.scatter(rate, time, c=copies, **look)
    axes.axhline(data.attrs["hold"], color="0.6", linestyle=":", linewidth=0.8)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel=r"growth rate $4\eta(m\|x\|^2/n-\lambda)$",
        ylabel="step of half the final norm",
    )
    axes.figure.colorbar(scatter, ax=axes, label="copies $m$", aspect=30)
    style.panel_letter(axes, "c", "more copies, stored earlier")
