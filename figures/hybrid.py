"""Duplicates beside abundant components: a sample gets a neuron of its own from m* = nλ/‖x‖² copies on, Cor. 3.4.

Left: squared norm of the neurons on the duplicated sample against m, [X3] as a line, m* marked, the band between never
and always stored in grey. Middle: the components' norms keep to (8) meanwhile. Right: the share of nets that stored it.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.look import shares, style

THEORY: dict[str, Any] = {"color": "#D55E00", "linewidth": 1.3}
POINTS: dict[str, Any] = {"fmt": "o", "color": "#0072B2"}


def draw(data: xr.Dataset) -> Figure:
    """Sample, components, survival."""
    figure, panels = plt.subplots(1, 3, figsize=(style.PAGE, 2.7))
    _sample(panels[0], data)
    _components(panels[1], data)
    _survival(panels[2], data)
    for axes in panels:
        axes.set_xscale("log")
        axes.set_xticks([1, 2, 4, 8, 16, 32], ["1", "2", "4", "8", "16", "32"])
        axes.minorticks_off()
        axes.set_xlabel("copies $m$ of the sample $x$")
    return figure


def _mark(axes: Axes, data: xr.Dataset) -> None:
    star = data.attrs["star"]
    low, high = (data.attrs[f"band_{side}"] for side in ("low", "high"))
    axes.fill_between([low, high], 0, 1, color="0.88", linewidth=0, zorder=0, label="from never to always stored")
    label = rf"theory: $m^*=n\lambda/\|x\|^2={star:.2f}$"
    axes.plot([star, star], [0, 1], linestyle="--", color="0.2", linewidth=0.9, label=label)


def _sample(axes: Axes, data: xr.Dataset) -> None:
    size = data["sample"].transpose("seed", "copies")
    axes.plot(data["fine"], data["fine_theory"], label="theory [X3]", **THEORY)
    sem = size.std("seed", ddof=1) / np.sqrt(size.sizes["seed"])
    axes.errorbar(
        data["copies"], size.mean("seed"), yerr=sem, label=f"nets, mean ± SEM over {size.sizes['seed']}", **POINTS
    )
    _mark(axes, data)
    axes.set(ylabel=r"norm $\|w\|^2$ of the neurons on $x$", ylim=(-0.03, 1.45))
    axes.legend(loc="upper left", fontsize="x-small")
    style.panel_letter(axes, "a", "the duplicated sample $x$")


def _components(axes: Axes, data: xr.Dataset) -> None:
    looks = (("o", "#0072B2", "-"), ("s", "#009E73", "--"), ("^", "#CC79A7", "-."))
    for component, (marker, color, line) in zip(range(data.sizes["component"]), looks, strict=False):
        at = data.isel(component=component)
        axes.plot(
            data["copies"],
            at["components_theory"],
            linestyle=line,
            color=color,
            label=f"theory (8), component {component + 1}",
        )
        sem = at["components"].std("seed", ddof=1) / np.sqrt(data.sizes["seed"])
        axes.errorbar(
            data["copies"],
            at["components"].mean("seed"),
            yerr=sem,
            fmt=marker,
            color=color,
            label=f"nets, component {component + 1}",
        )
    middle = float(data["components_theory"].mean())
    axes.set(ylabel=r"norm $\|W_k\|_F^2$ of a component", ylim=(0, 1.6 * middle))
    axes.legend(loc="lower left", fontsize="x-small")
    style.panel_letter(axes, "b", "the components beside it")


def _survival(axes: Axes, data: xr.Dataset) -> None:
    norms = data["sample"].transpose("copies", "seed")
    for copies, row in zip(data["copies"].values, norms.values, strict=True):
        finite = row[np.isfinite(row)]  # others diverged
        if finite.size:
            shares.point(axes, copies, finite > data.attrs["survives"], **POINTS)
    axes.errorbar([], [], yerr=[], label="nets, 95 % interval", **POINTS)
    star, copies = data.attrs["star"], data["copies"].values
    axes.plot([copies[0], star, star, copies[-1]], [0, 0, 1, 1], label="theory", **THEORY)
    _mark(axes, data)
    axes.set(ylabel="share of nets", ylim=(-0.05, 1.75), yticks=(0, 0.5, 1))
    axes.legend(loc="upper left", fontsize="x-small")
    style.panel_letter(axes, "c", "nets that stored the sample")
