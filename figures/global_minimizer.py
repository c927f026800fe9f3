"""The minimizer over all widths beside nets that were trained: what they memorize, how far above it they stop.

Index at noisy training points, objective over the minimizer's lower bound, and how many neurons it uses. No net of any
width is below 1 in the second panel, as far as the search for a growing neuron holds.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.look import style

COLORS = ("#56B4E9", "#0072B2", "#009E73", "#CC79A7")
MINIMIZER: dict[str, Any] = {"fmt": "o-", "color": "black", "zorder": 4}
STORED: dict[str, Any] = {"fmt": "^:", "color": "#D55E00", "mfc": "white"}


def draw(data: xr.Dataset) -> Figure:
    """Three panels over n."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(style.PAGE, 2.9))
    n = data["n"].values
    _index(left, data)
    _excess(middle, data)
    for seed in data["seed"].values:
        right.plot(n, data["neurons"].sel(seed=seed), "o", color="black", mfc="white")
    right.plot(n, data["neurons"].mean("seed"), "-", color="black", label="minimizer found")
    right.plot(n, n, "--", color="0.4", label="$p = n$, eq. (9)")
    right.set(yscale="log", ylabel="neurons", xlabel="training samples $n$")
    right.legend(loc="upper left")
    style.panel_letter(right, "c", "neurons it uses")
    for axes in (left, middle, right):
        axes.set_xscale("log")
        axes.set_xticks(n, [str(value) for value in n])
        axes.minorticks_off()
    worst = float(data["gap"].max())
    figure.suptitle(
        f"{data.attrs['data']}, d = {data.attrs['dimension']}, "
        rf"$\sigma$ = {data.attrs['noise_std']:g}, $\lambda$ = {data.attrs['weight_decay']:g}, "
        f"{data.sizes['seed']} data sets an $n$; largest gap {100 * worst:.1f} %",
        x=0.01,
        ha="left",
        fontsize="medium",
    )
    return figure


def _index(axes: Axes, data: xr.Dataset) -> None:
    axes.errorbar(data["n"], *_mean(data["index"]), label="minimizer", **MINIMIZER)
    for p, color in zip(data["p"].values, COLORS, strict=False):
        label = f"nets, p = {p}, {data.attrs['steps']} steps"
        axes.errorbar(data["n"], *_mean(data["net_index"].sel(p=p)), fmt="s--", color=color, label=label)
    axes.axhline(0.5, color="0.4", linestyle=":")
    axes.set(ylabel=r"$D_{gt}/(D_{gt}+D_{emp})$, 1 = memorizing", xlabel="training samples $n$")
    axes.legend(loc="best")
    style.panel_letter(axes, "a", "who memorizes")


def _excess(axes: Axes, data: xr.Dataset) -> None:
    """Objective over the lower bound, less 1, in percent."""
    n, lower = data["n"], data["lower_bound"]
    for p, color in zip(data["p"].values, COLORS, strict=False):
        axes.errorbar(n, *_mean(100 * (data["net_objective"].sel(p=p) / lower - 1)), fmt="s--", color=color)
    axes.errorbar(n, *_mean(100 * (data["stored"] / lower - 1)), label="memorizing, eq. (9)", **STORED)
    axes.errorbar(n, *_mean(100 * (data["objective"] / lower - 1)), label="minimizer: its gap", **MINIMIZER)
    axes.set_yscale("log", nonpositive="mask")
    axes.set_ylim(bottom=1e-2)
    axes.set(ylabel="objective above the bound [X6], %", xlabel="training samples $n$")
    axes.legend(loc="best")
    style.panel_letter(axes, "b", "how far above the bound")


def _mean(values: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds and its standard error."""
    return values.mean("seed").values, (values.std("seed", ddof=1) / np.sqrt(values.sizes["seed"])).values
