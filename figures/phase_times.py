"""When does a net memorize? With fewer samples than a boundary in n that moves right the longer it trains.

Left: points are measured, where the index D_gt/(D_gt + D_emp) at noisy training points falls through ½, with bootstrap
bands; left of a point nets of this width memorize after that time, right of it they generalize. Where a width has no
point at a time there is no such place: its nets do not come to generalize on the axis (index .45 or less). Dotted,
p = n: right of it not every sample can have a neuron of its own, a condition of the stored solution (9).
Right: the index itself, for the widest nets, and that of the minimizer over all widths on data of the same settings.
Orange: where training ends if it finds that minimizer (nets may end before, in a local minimum or for want of neurons),
with its band over data sets; dashed with arrows where the minimizer still memorizes at the largest n that was solved,
so that only a lower end of the limit is known.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from figures.look import limits, style

MARKS = "os^Dv"
MINIMIZER: dict[str, Any] = {"fmt": "*--", "color": "black", "ms": 7, "zorder": 5}


def draw(data: xr.Dataset) -> Figure:
    """Boundaries in (n, p), one line a training time; beside them the index of the widest nets."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(style.PAGE, 3.4))
    looks = _looks(data)
    _boundaries(left, data, looks)
    _index(right, data, looks)
    for axes in (left, right):
        limits.mark(axes, data)
        axes.set(xscale="log", xlabel=data["n"].attrs["label"])
        _ticks(axes.xaxis, data["n"].values)
    times = [Line2D([], [], label=f"{steps:,} steps", **look) for steps, look in looks.items()]
    minimizer = [Line2D([], [], marker="*", ls="--", color="black", ms=7, label="minimizer over all widths")]
    shown = minimizer if "limit_index" in data else []
    figure.legend(handles=[*times, *shown, limits.handle(data)], loc="outside lower center", ncols=3)
    rate = float(data["time"][0] / data["steps"][0])
    figure.suptitle(
        f"{data.attrs['data']}: {data.sizes['seed']} data sets, one net each; Adam at the constant rate {rate:g}",
        x=0.01,
        ha="left",
        fontsize="medium",
    )
    return figure


def _looks(data: xr.Dataset) -> dict[int, dict[str, Any]]:
    """Training time -> colour and mark, darker for longer."""
    times = data["steps"].values
    shades = plt.get_cmap("Blues")(np.linspace(0.45, 1, len(times)))
    marks = [MARKS[k % len(MARKS)] for k in range(len(times))]
    return {
        int(steps): {"color": shade, "marker": mark, "linestyle": "-", "markeredgecolor": "black"}
        for steps, shade, mark in zip(times, shades, marks, strict=True)
    }


def _boundaries(axes: Axes, data: xr.Dataset, looks: dict[int, dict[str, Any]]) -> None:
    for steps, look in looks.items():
        at = data.sel(steps=steps).dropna("p", subset=["boundary"])
        place = at["boundary"].values
        spread = np.stack([place - at["boundary_low"].values, at["boundary_high"].values - place])
        axes.errorbar(place, at["p"].values, xerr=spread, ecolor=look["color"], elinewidth=2, **look)
    n, p = data["n"].values, data["p"].values
    both = np.asarray([max(n.min(), p.min()), min(n.max(), p.max())])
    axes.plot(both, both, ":", color="0.5", zorder=0)
    axes.annotate("$p = n$", (both[1], both[1]), color="0.4", ha="left", va="top")
    _without(axes, data)
    axes.set(yscale="log", ylabel=data["p"].attrs["label"], xlim=style.edges(n)[[0, -1]], ylim=style.edges(p)[[0, -1]])
    _ticks(axes.yaxis, p)
    axes.text(0.03, 0.97, "memorizes", transform=axes.transAxes, va="top")
    axes.text(0.97, 0.97, "generalizes", transform=axes.transAxes, va="top", ha="right")
    style.panel_letter(axes, "a", "measured boundary: index = ½")


def _without(axes: Axes, data: xr.Dataset) -> None:
    """At every width without a point at some time: at which, and that its nets do not generalize on the axis."""
    look: dict[str, Any] = {"color": "0.3", "va": "center", "ha": "right", "fontsize": 7}
    for value in data["p"].values:
        none = data["boundary"].sel(p=value).isnull()
        if none.any():
            times = ", ".join(f"{steps:,}" for steps in data["steps"].values[none.values])
            when = "any time" if none.all() else f"{times} steps"
            words = f"no point at\n{when}: index\nstays above {data.attrs['low']:g}"
            axes.annotate(words, (0.99, value), xycoords=axes.get_yaxis_transform(), **look)


def _index(axes: Axes, data: xr.Dataset, looks: dict[int, dict[str, Any]]) -> None:
    widest = int(data["p"].max())
    for steps, look in looks.items():
        at = data["train_index"].sel(steps=steps, p=widest)
        axes.errorbar(data["n"], *_mean(at, "seed"), ecolor=look["color"], **look)
    if "limit_index" in data:
        axes.errorbar(data["limit_n"], *_mean(data["limit_index"], "limit_seed"), **MINIMIZER)
    axes.axhline(data.attrs["level"], color="0.5", linestyle=":", zorder=0)
    axes.set(ylabel=r"$D_{gt}/(D_{gt}+D_{emp})$, 1 = memorizing", xlim=style.edges(data["n"])[[0, -1]])
    style.panel_letter(axes, "b", f"index of nets with p = {widest}")


def _mean(values: xr.DataArray, dim: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds and its standard error."""
    return values.mean(dim).values, (values.std(dim, ddof=1) / np.sqrt(values.sizes[dim])).values


def _ticks(axis: Any, values: np.ndarray) -> None:
    axis.set_major_locator(FixedLocator(values.tolist()))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
