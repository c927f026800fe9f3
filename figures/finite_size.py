"""Of the stated scales of n, K (rank + 1) brings curves of the index closest together, but not onto one.

Left: the index at noisy training points against n, one curve a setting, mean and standard error over seeds; colour by
the number of components K, mark by their rank, other settings dashed. Middle: the same over n divided by the stated
scale that collapses them best. Right: how well every scale collapses the curves, 1 − (missed of a curve by the
decreasing curve through the others)/(variance), with 95 % bands over resampled seeds. K · rank does nearly as well.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures.look import style

COLORS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7")
MARKS = "osv^D"


def draw(data: xr.Dataset) -> Figure:
    """Curves, collapsed curves, and the quality of every collapse."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(style.PAGE, 3.2), width_ratios=(1, 1, 0.8))
    stated = [str(word) for word in data["scale"].values if word not in ("n", "fitted")]
    best = max(stated, key=lambda word: float(data["quality"].sel(scale=word)))
    _curves(left, data, np.zeros(data.sizes["curve"]))
    scale = data["log_scale"].sel(scale=best).values
    _curves(middle, data, scale)
    left.set(xlabel="samples $n$", ylabel="index, 1 = memorizing")
    left.set_xticks(data["n"].values, [f"{n}" for n in data["n"].values])
    left.minorticks_off()
    middle.set(xlabel=_words(best))
    style.panel_letter(left, "a", f"{data.sizes['curve']} settings")
    style.panel_letter(middle, "b", "over the best stated scale")
    _qualities(right, data)
    figure.legend(handles=_handles(data), loc="outside lower center", ncols=4)
    return figure


def _looks(data: xr.Dataset) -> list[dict[str, Any]]:
    """One a curve, as the docstring of this module says."""
    components, ranks = (list(dict.fromkeys(data[name].values)) for name in ("K", "rank"))
    base = data.isel(curve=0)
    looks = []
    for c in range(data.sizes["curve"]):
        at = data.isel(curve=c)
        other = any(float(at[name]) != float(base[name]) for name in ("d", "p", "sigma"))
        color = COLORS[components.index(float(at["K"])) % len(COLORS)]
        mark = MARKS[ranks.index(float(at["rank"])) % len(MARKS)]
        looks.append({"color": color, "marker": mark, "linestyle": "--" if other else "-", "markersize": 3})
    return looks


def _curves(axes: Axes, data: xr.Dataset, log_scale: np.ndarray) -> None:
    mean = data["index"].mean("seed")
    sem = data["index"].std("seed", ddof=1) / np.sqrt(data.sizes["seed"])
    for c, look in enumerate(_looks(data)):
        place = data["n"].values / np.exp(log_scale[c])
        axes.errorbar(place, mean.isel(curve=c), yerr=sem.isel(curve=c), elinewidth=0.8, linewidth=0.9, **look)
    axes.axhline(data.attrs["level"], color="0.5", linestyle=":", zorder=0)
    axes.set(xscale="log")


def _qualities(axes: Axes, data: xr.Dataset) -> None:
    order = np.argsort(data["quality"].values)
    value = data["quality"].values[order]
    spread = np.abs(np.stack([value - data["quality_low"].values[order], data["quality_high"].values[order] - value]))
    axes.errorbar(value, range(len(value)), xerr=spread, fmt="o", color="black", markersize=4)
    axes.set_yticks(range(len(value)), [_words(str(word)) for word in data["scale"].values[order]])
    axes.axvline(1, color="0.6", linestyle="--", linewidth=0.9)
    axes.set(xlabel="quality of the collapse", ylim=(-0.6, len(value) - 0.4))
    style.panel_letter(axes, "c", "1 = one curve")


def _words(scale: str) -> str:
    return "n / fitted powers" if scale == "fitted" else scale


def _handles(data: xr.Dataset) -> list[Line2D]:
    components, ranks = (list(dict.fromkeys(data[name].values)) for name in ("K", "rank"))
    colors = [Line2D([], [], color=COLORS[i % len(COLORS)], label=f"K = {k:g}") for i, k in enumerate(components)]
    marks = [
        Line2D([], [], color="0.4", marker=MARKS[i % len(MARKS)], linestyle="", label=f"rank {r:g}")
        for i, r in enumerate(ranks)
    ]
    return [*colors, *marks, Line2D([], [], color="0.4", linestyle="--", label="other d, p or σ")]
