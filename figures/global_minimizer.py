"""The minimizer over all widths beside nets that were trained: what they memorize, how far above it they stop, and why.

Top: index at noisy training points, objective over the minimizer's lower bound [X6], and how many neurons it uses. No
net of any width is below 0 in b, as far as the search for a growing neuron holds; marks there are medians, bars run
from the lowest to the highest data set, nets look as in a, and the axis is linear below 1 %.
Bottom: by how much nets of one width are above the minimizer after the middle length of training, in parts that one
experiment each removes. Time: the same nets, trained longer at a rate that decays. Optimizer: from there down the exact
objective, which has no noise. Local minima: newcomers in place of the smallest neurons. Width: what is left, and only
more neurons remove. The index is taken apart in the same way; a part below zero leads away from the minimizer. Last,
which share of the nets ends at the minimizer, with Wilson's 95 % intervals over all n and data sets.
With several σ and λ the first of each is drawn, and the other minimizers' index in grey.
"""

from itertools import product
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binomtest

from figures.look import style

SHADES = ("#A6CEE3", "#56B4E9", "#0072B2", "#08306B")  # longer training is darker
WIDTHS = ("#009E73", "#0072B2", "#CC79A7", "#D55E00")
MARKS = "sDvP"
MINIMIZER: dict[str, Any] = {"fmt": "o-", "color": "black", "zorder": 4}
STORED: dict[str, Any] = {"fmt": "^:", "color": "#D55E00", "mfc": "white"}
REASONS = (
    ("longer", "time", "#0072B2"),
    ("settled", "optimizer", "#56B4E9"),
    ("exchanged", "local minima", "#E69F00"),
    ("minimizer", "width", "#999999"),
)


def draw(data: xr.Dataset) -> Figure:
    """Six panels: three of the minimizer over n, three of why nets are above it."""
    first = data.isel(noise_std=0, weight_decay=0)
    figure, panels = plt.subplots(2, 3, figsize=(style.PAGE, 5.6))
    (left, middle, right), (objective, missing, reached) = panels
    _index(left, data, first)
    _excess(middle, first)
    _neurons(right, first)
    for axes in (left, middle, right):
        axes.set(xscale="log", xlabel="training samples $n$")
        axes.set_xticks(first["n"].values, [str(value) for value in first["n"].values])
        axes.minorticks_off()
    _parts(objective, 100 * first["path_objective"] / first["objective"], -1)
    objective.set(ylabel="objective above the minimizer's, %")
    objective.set_ylim(top=1.5 * objective.get_ylim()[1])
    objective.legend(loc="upper left", ncols=2, columnspacing=1.0)
    short = int(data["steps"].values[-2])
    style.panel_letter(objective, "d", f"why above: p = {data.attrs['studied']}, {short} steps")
    _parts(missing, first["path_index"], 1)
    missing.set(ylabel="index below the minimizer's")
    style.panel_letter(missing, "e", "why it memorizes less")
    _reached(reached, data)
    worst = float(first["gap"].max())
    figure.suptitle(
        f"{data.attrs['data']}, d = {data.attrs['dimension']}, "
        rf"$\sigma$ = {float(first['noise_std']):g}, $\lambda$ = {float(first['weight_decay']):g}, "
        f"{data.sizes['seed']} data sets an $n$; largest gap {100 * worst:.1f} %",
        x=0.01,
        ha="left",
        fontsize="medium",
    )
    return figure


def _looks(data: xr.Dataset) -> list[tuple[int, dict[str, Any]]]:
    """Steps and their look, for nets of the studied width at a decaying rate."""
    return [
        (int(steps), {"fmt": f"{mark}--", "color": shade})
        for steps, mark, shade in zip(data["steps"].values, MARKS, SHADES[1:], strict=False)
    ]


def _index(axes: Axes, data: xr.Dataset, first: xr.Dataset) -> None:
    for sigma, decay in list(product(data["noise_std"].values, data["weight_decay"].values))[1:]:
        other = data["index"].sel(noise_std=sigma, weight_decay=decay).mean("seed")
        axes.plot(data["n"], other, "-", color="0.7", zorder=0)
        axes.annotate(rf"$\sigma$={sigma:g}, $\lambda$={decay:g}", (data["n"][-1], other[-1]), color="0.5", ha="right")
    axes.errorbar(first["n"], *_mean(first["index"]), label="minimizer", **MINIMIZER)
    nets = first["net_index"].sel(p=data.attrs["studied"], schedule="decaying")
    for steps, look in _looks(data):
        axes.errorbar(
            first["n"], *_mean(nets.sel(steps=steps)), label=f"p = {data.attrs['studied']}, {steps} steps", **look
        )
    axes.axhline(0.5, color="0.4", linestyle=":")
    axes.set(ylabel=r"$D_{gt}/(D_{gt}+D_{emp})$, 1 = memorizing")
    axes.legend(loc="lower left")
    style.panel_letter(axes, "a", "who memorizes")


def _excess(axes: Axes, data: xr.Dataset) -> None:
    """Objective over the lower bound, less 1, in percent."""
    n, lower = data["n"], data["lower_bound"]
    nets = data["net_objective"].sel(p=data.attrs["studied"], schedule="decaying")
    axes.errorbar(n, *_range(100 * (data["stored"] / lower - 1)), label="memorizing, eq. (9)", **STORED)
    for steps, look in _looks(data):
        axes.errorbar(n, *_range(100 * (nets.sel(steps=steps) / lower - 1)), **look)
    axes.errorbar(n, *_range(100 * (data["objective"] / lower - 1)), label="minimizer: its gap", **MINIMIZER)
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(-0.2, 300 * axes.get_ylim()[1])  # room for the legend
    axes.set_yticks([0, 1, 10, 100, 1e3, 1e4, 1e5], ["0", "1", "10", "100", "$10^3$", "$10^4$", "$10^5$"])
    axes.set(ylabel="objective above the bound [X6], %")
    axes.legend(loc="upper left")
    style.panel_letter(axes, "b", "how far above the bound")


def _neurons(axes: Axes, data: xr.Dataset) -> None:
    n = data["n"].values
    for seed in data["seed"].values:
        axes.plot(n, data["neurons"].sel(seed=seed), "o", color="black", mfc="white")
    axes.plot(n, data["neurons"].mean("seed"), "-", color="black", label="minimizer found")
    axes.plot(n, n, "--", color="0.4", label="$p = n$, eq. (9)")
    axes.axhline(data.attrs["studied"], color=SHADES[2], linestyle=":", label=f"p = {data.attrs['studied']}, the nets")
    axes.set(yscale="log", ylabel="neurons")
    axes.set_ylim(top=8 * axes.get_ylim()[1])  # room for the legend
    axes.legend(loc="upper left")
    style.panel_letter(axes, "c", "neurons it uses")


def _parts(axes: Axes, along: xr.DataArray, sign: int) -> None:
    """Bars over n of what each experiment changes on the way to the minimizer, means over data sets."""
    steps = sign * along.diff("stage").mean("seed")
    place = np.arange(steps.sizes["n"])
    above, below = np.zeros(len(place)), np.zeros(len(place))
    for stage, words, color in REASONS:
        height = steps.sel(stage=stage).values
        axes.bar(place, height, 0.7, np.where(height > 0, above, below), color=color, edgecolor="black", label=words)
        above, below = above + np.maximum(height, 0), below + np.minimum(height, 0)
    whole = sign * (along.isel(stage=-1) - along.isel(stage=0))
    axes.errorbar(place, *_mean(whole), fmt="k.", capsize=2, label="all, ± error")
    axes.axhline(0, color="black", linewidth=0.5)
    axes.set_xticks(place, [str(value) for value in along["n"].values])
    axes.set(xlabel="training samples $n$")


def _reached(axes: Axes, data: xr.Dataset) -> None:
    near = data["net_objective"] <= (1 + data.attrs["margin"]) * data["objective"]
    steps = data["steps"].values
    looks = zip(data["p"].values, WIDTHS, MARKS, strict=False)
    for shift, (p, color, mark) in zip((0.75, 1.0, 1.33, 1.77), looks, strict=False):
        at = near.sel(p=p, schedule="decaying").transpose("steps", ...).values.reshape(len(steps), -1)
        share = at.mean(axis=1)
        bands = [binomtest(int(row.sum()), row.size).proportion_ci(0.95, method="wilson") for row in at]
        error = np.asarray([[share[k] - band.low, band.high - share[k]] for k, band in enumerate(bands)]).T
        axes.errorbar(
            shift * steps, share, np.maximum(error, 0), fmt=f"{mark}-", color=color, capsize=2, label=f"p = {p}"
        )
    axes.set(xscale="log", ylim=(-0.03, 1.03), xlabel="steps, at a decaying rate")
    axes.set(ylabel=f"nets within {100 * data.attrs['margin']:g} % of the minimizer")
    axes.set_xticks(steps, [f"{value:,}" for value in steps])
    axes.minorticks_off()
    axes.legend(loc="upper left")
    style.panel_letter(axes, "f", "who reaches it")


def _range(values: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Median over seeds, and how far below and above it the lowest and the highest are."""
    middle = values.median("seed")
    return middle.values, np.stack([(middle - values.min("seed")).values, (values.max("seed") - middle).values])


def _mean(values: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds and its standard error."""
    return values.mean("seed").values, (values.std("seed", ddof=1) / np.sqrt(values.sizes["seed"])).values
