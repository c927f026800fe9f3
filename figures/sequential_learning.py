"""Principal components are learned one after the other, the stronger pulled the sooner, where there are neurons enough.

Exact flow on populations (n → ∞) from small weights. a, b: gain of every principal direction over its end in theory,
from one start; dashed in a, what each would do alone: logistic, at the rate 4(G − λ), from its own initial size. c:
how many directions of the Gaussian p neurons learn, means and range over the starts. Without biases a direction takes
two neurons, one for each sign; with biases one, whose gate stays open, and one more for the constant that these leave:
p = r + 1 where nets without biases take 2r. d: time in which a gain rises from a tenth to half of its end, over the
law's.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.look import style

LOOKS: dict[int, dict[str, Any]] = {
    0: {"color": "#0072B2", "marker": "o", "label": "without biases"},
    1: {"color": "#D55E00", "marker": "s", "label": "with biases"},
}
MARKS = {"gaussian": "full", "clusters": "none"}


def draw(data: xr.Dataset) -> Figure:
    """Gains over time on both populations; directions learned over p; rise times beside the law."""
    figure, ((first, second), (third, fourth)) = plt.subplots(2, 2, figsize=(style.PAGE, 5.0))
    _gains(first, data, "gaussian", alone=True)
    _gains(second, data, "clusters", alone=False)
    widest = data["p"].values[-1]
    style.panel_letter(first, "a", f"one Gaussian, without biases, p = {widest}")
    style.panel_letter(second, "b", f"two clusters, without biases, p = {widest}")
    _learned(third, data)
    _rises(fourth, data)
    figure.suptitle(
        rf"$\sigma$ = {data.attrs['noise_std']:g}, $\lambda$ = {data.attrs['weight_decay']:g}; "
        f"{data.sizes['seed']} starts for every p",
        x=0.01,
        ha="left",
        fontsize="medium",
    )
    return figure


def _gains(axes: Axes, data: xr.Dataset, case: str, *, alone: bool) -> None:
    at = data.sel(data=case, biases=0, p=data["p"][-1])
    places = np.flatnonzero(at["pull"].notnull())
    time = np.geomspace(float(data["time"][0]), float(data["time"][-1]), 400)
    pulls = at["pull"].values[places]
    each = np.unique(pulls)[::-1]
    colors = dict(zip(each, plt.get_cmap("viridis")(np.linspace(0, 0.85, len(each))), strict=True))
    seen: set[float] = set()  # directions of one pull have one color and one entry
    for place, pull in zip(places, pulls, strict=True):
        here = at.isel(direction=place)
        start, alike = float(here["start"].isel(seed=0)), int((pulls == pull).sum())
        words = f"{pull:g}" if alike == 1 else f"{pull:g} ({alike}×)"
        axes.plot(data["time"], here["gain"], color=colors[pull], label=None if pull in seen else words)
        seen.add(pull)
        if alone:
            grown = (1 / start - 1) * np.exp(-4 * (pull - data.attrs["weight_decay"]) * time)
            axes.plot(time, 1 / (1 + grown), "--", color="0.3", linewidth=0.9)
    if alone:
        axes.plot([], [], "--", color="0.3", linewidth=0.9, label="law, alone")
    axes.axhline(0.5, color="0.6", linestyle=":", zorder=0)
    axes.set(xscale="log", xlabel=r"time of the flow ($\eta\,\cdot$ steps)", ylabel="gain over its end in theory")
    axes.legend(title="pull G", fontsize="small", loc="upper left")


def _learned(axes: Axes, data: xr.Dataset) -> None:
    count = data["half"].sel(data="gaussian").notnull().sum("direction")
    width, rank = data["p"].values, data.attrs["rank"]
    for biased, look in LOOKS.items():
        of = count.sel(biases=biased).transpose("seed", "p").values
        spread = np.stack([of.mean(0) - of.min(0), of.max(0) - of.mean(0)])
        axes.errorbar(width * 1.02 ** (2 * biased - 1), of.mean(0), yerr=spread, linestyle="", capsize=2, **look)
        predicted = np.minimum(width - 1 if biased else width / 2, rank)
        axes.plot(width, predicted, "--", color=look["color"], linewidth=0.9)
    axes.set(xscale="log", xlabel="neurons p", ylabel=f"directions learned of {rank}")
    axes.set_xticks(width, [f"{value}" for value in width])
    axes.minorticks_off()
    axes.set_yticks(range(rank + 1))
    axes.legend(fontsize="small", loc="lower right", title="dashed: p/2 and p − 1")
    style.panel_letter(axes, "c", "one Gaussian: how many are learned")


def _rises(axes: Axes, data: xr.Dataset) -> None:
    law = np.log(9) / (4 * (data["pull"] - data.attrs["weight_decay"]))
    for case, fill in MARKS.items():
        for biased, look in LOOKS.items():
            ratio = (data["rise"] / law).sel(data=case, biases=biased, p=data["p"][-1])
            middle = ratio.mean("seed").values
            error = (ratio.std("seed", ddof=1) / np.sqrt(ratio.notnull().sum("seed"))).values
            pull = data["pull"].sel(data=case).values * 1.03 ** (2 * biased - 1)
            shown = {**look, "label": f"{look['label']}, {case}", "markerfacecolor": look["color"]}
            if fill == "none":
                shown["markerfacecolor"] = "white"
            axes.errorbar(pull, middle, yerr=error, linestyle="", **shown)
    axes.axhline(1, color="0.5", linestyle="--", linewidth=0.9, zorder=0)
    ticks = np.unique(data["pull"].values[np.isfinite(data["pull"].values)])
    axes.set(xscale="log", xlabel="pull G", ylabel=r"rise time $\cdot\ 4(G - \lambda)/\log 9$")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.35 * (high - low))  # room for the legend
    axes.legend(fontsize="small", ncols=2, loc="upper left", columnspacing=1.0)
    style.panel_letter(axes, "d", f"rise time over the law's, p = {data['p'].values[-1]}")
