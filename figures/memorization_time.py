"""Generalize first, memorize later: both times against n, and what it costs to stop outside of the window between them.

a, b: curves of one setting over training. c, d: the two times for Adam, plain descent and its gradient flow, with their
exponents in n; the flow is solved for the narrowest nets and few n alone; dashed, Bonnaire et al.'s τ_mem ∝ n. Open
triangles in c all mean the end of the run, one row a rule. e: the window [τ_gen, τ_mem] of Adam, medians over the nets:
before it they have not generalized, behind it they memorize. It is open above where most nets have not come to memorize
by the end (triangles). f: test loss over the lowest of the same run, where a run stops before the window, behind it,
and at the end; marks are medians, bars the middle half of the nets. The test loss rises long before the window ends:
the time to stop is early in it.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import offset_copy

from figures.look import style

RULES: dict[str, dict[str, Any]] = {
    "adam": {"color": "#0072B2", "marker": "o"},
    "sgd": {"color": "#D55E00", "marker": "s"},
    "flow": {"color": "black", "marker": "x"},
}
STOPS: dict[str, dict[str, Any]] = {
    "cost_early": {"color": "#009E73", "marker": "v", "label": r"before: at $\tau_{gen}/3$"},
    "cost_late": {"color": "#CC79A7", "marker": "^", "label": r"behind: at $3\,\tau_{mem}$"},
    "cost_at_the_end": {"color": "0.4", "marker": "s", "label": "at the end"},
}
LEVELS = (0.1, 0.2, 0.3, 0.5, 1, 2, 3, 5, 10, 20, 30, 50)  # ticks of a test loss
MEMORIZED: dict[str, Any] = {"marker": "o", "markersize": 4}
OPEN: dict[str, Any] = {"marker": "^", "markerfacecolor": "none", "markersize": 6}
MIDDLE = (0.25, 0.5, 0.75)
WORDS = {"adam": "Adam", "sgd": "gradient descent", "flow": "gradient flow"}


def draw(data: xr.Dataset) -> Figure:
    """Index and test loss over time for every n; below, the two times over n of every run; the window and its worth."""
    width, decay = data["p"].values[-1], data["weight_decay"].values[0]
    here = data.sel(p=width, weight_decay=decay)
    figure, ((first, second), (third, fourth), (fifth, sixth)) = plt.subplots(3, 2, figsize=(style.PAGE, 7.4))
    colors = plt.get_cmap("viridis")(np.linspace(0, 0.92, data.sizes["n"]))
    for axes, name, label in ((first, "index", "index, 1 = memorizing"), (second, "test_loss", "test loss")):
        for n, color in zip(data["n"].values, colors, strict=True):
            curve = here[name].sel(rule="adam", n=n).mean("seed")
            axes.plot(data["step"], curve, color=color, label=f"{n}")
        axes.set(xscale="log", xlabel="optimizer steps of Adam", ylabel=label)
    second.set_yscale("log")
    low, high = second.get_ylim()
    levels = [level for level in LEVELS if low <= level <= high]
    second.set_yticks(levels, [f"{level:g}" for level in levels])
    second.minorticks_off()
    first.axhline(0.5, color="black", linestyle=":", linewidth=0.8)
    first.legend(title="n", fontsize="small", ncols=2, loc="upper left")
    style.panel_letter(first, "a", f"index at noisy training points, p = {width}")
    style.panel_letter(second, "b", "test loss")
    _times(third, data, "memorizing", r"$\tau_{mem}$", width, decay)
    _times(fourth, data, "generalizing", r"$\tau_{gen}$", width, decay)
    start = third.get_ylim()
    n = data["n"].values
    middle = np.sqrt(start[0] * start[1])
    third.plot(
        n, middle * n / np.sqrt(n[0] * n[-1]), color="grey", linestyle="--", label=r"$\propto n$, Bonnaire et al."
    )
    third.set_ylim(start)
    third.legend(fontsize="small", loc="lower right")
    style.panel_letter(third, "c", "index crosses ½ after a minimum of .45 or less")
    style.panel_letter(fourth, "d", "test loss within 5 % of its lowest")
    _window(fifth, data, width)
    _costs(sixth, here.sel(rule="adam"))
    style.panel_letter(fifth, "e", f"where to stop: Adam, p = {width}")
    style.panel_letter(sixth, "f", "what it costs to stop elsewhere")
    figure.suptitle(
        f"d = {data.attrs['dimension']}, " + rf"$\sigma$ = {data.attrs['noise_std']:g}, $\lambda$ = {decay:g}; "
        f"{data.sizes['seed']} nets for every n; open triangles: not within the run, so later",
        x=0.01,
        ha="left",
        fontsize="medium",
    )
    return figure


def _times(axes: Axes, data: xr.Dataset, name: str, symbol: str, width: int, decay: float) -> None:
    """Every run's time over n: a marker where it was seen, a triangle at the bound where it comes later."""
    smallest = data["p"].values[0]
    for place, (rule, look) in enumerate(RULES.items()):
        # the flow is solved for the narrowest net alone
        here = data.sel(rule=rule, p=smallest if rule == "flow" else width, weight_decay=decay)
        time, later, early = (here[f"{name}_{what}"].transpose("seed", "n") for what in ("time", "censored", "early"))
        later, early = later.values.astype(bool), early.values.astype(bool)
        n = np.broadcast_to(data["n"].values * 1.04 ** (place - 1), time.shape)
        exponent, low, high = (float(here[f"{name}_fit_{what}"]) for what in ("exponent", "low", "high"))
        fit = f", exponent {exponent:.1f} [{low:.1f}, {high:.1f}]" if np.isfinite(low) and rule != "flow" else ""
        words = f", p = {smallest}" if rule == "flow" else ""
        seen = ~later & ~early & np.isfinite(time.values)
        label = f"{WORDS[rule]}{words}{fit}"
        if seen.any():
            axes.plot(n[seen], time.values[seen], linestyle="", markersize=4, label=label, **look)
        # where every run ends at one height the rules stand above each other
        up = offset_copy(
            axes.transData, axes.get_figure(root=True), y=5 * place if name == "memorizing" else 0, units="points"
        )
        only = None if seen.any() or not later.any() else f"{label}: later"
        axes.plot(n[later], time.values[later], "^", mfc="none", ms=4, color=look["color"], label=only, transform=up)
        axes.plot(n[early], time.values[early], "v", mfc="none", markersize=4, color=look["color"])
    axes.set(xscale="log", yscale="log", xlabel="samples n", ylabel=f"{symbol}, steps")
    _ticks(axes, data["n"].values)
    low, high = np.nanmin([data[f"{name}_time"].min(), data["step"].max() / 10]), 2 * float(data["step"].max())
    axes.set_ylim(low / (high / low) ** 0.6, high)  # room for the legend
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small", loc="lower right")


def _ticks(axes: Axes, n: np.ndarray) -> None:
    """A tick for every n, and a number where there is room for one."""
    labels, last = [], 0.0
    for value in n:
        labels.append(f"{value}" if value > 1.17 * last else "")
        last = value if labels[-1] else last
    axes.set_xticks(n, labels)
    axes.minorticks_off()


def _window(axes: Axes, data: xr.Dataset, width: int) -> None:
    """From the median τ_gen to the median τ_mem of the runs that have one, for every λ."""
    n, last = data["n"].values, float(data["step"][-1])
    decays = data["weight_decay"].values
    shifts = (0.965, 1.035) if len(decays) > 1 else (1.0,)
    for decay, color, shift in zip(decays, ("#0072B2", "#E69F00"), shifts, strict=False):
        here = data.sel(rule="adam", p=width, weight_decay=decay)
        start, stop = (_quartiles(here, name)[1] for name in ("generalizing", "memorizing"))
        shown = np.isfinite(start) & ~np.isnan(stop)
        top, place = np.minimum(stop, last), n * shift
        axes.vlines(place[shown], start[shown], top[shown], color=color, alpha=0.4, linewidth=5)
        axes.plot(place[shown], start[shown], "v", color=color, markersize=4)
        for mark, which in ((MEMORIZED, np.isfinite(stop)), (OPEN, np.isinf(stop))):
            axes.plot(place[shown & which], top[shown & which], color=color, linestyle="", **mark)
    axes.set(xscale="log", yscale="log", xlabel="samples n", ylabel="steps of Adam")
    axes.set_xlim(n[0] / 1.1, n[-1] * 1.1)
    low = axes.get_ylim()[0] / 1.2 if axes.get_ylim()[0] > 0 else float(data["step"][0])  # nothing may be shown
    axes.set_ylim(low, last * (last / low) ** 0.45)  # room for the legend
    _ticks(axes, n)
    colors = [
        Patch(color=color, alpha=0.4, label=rf"window, $\lambda$ = {decay:g}")
        for decay, color in zip(decays, ("#0072B2", "#E69F00"), strict=False)
    ]
    start = Line2D([], [], color="0.3", linestyle="", marker="v", ms=4, label=r"start: $\tau_{gen}$")
    ends = ((MEMORIZED, r"end: $\tau_{mem}$"), (OPEN, "end: after the run"))
    marks = [start, *(Line2D([], [], color="0.3", linestyle="", label=label, **mark) for mark, label in ends)]
    axes.legend(handles=[*colors, *marks], fontsize="small", loc="upper center", ncols=2)


def _quartiles(here: xr.Dataset, name: str) -> np.ndarray:
    """Quartiles over the runs that have the time, (3, n); infinite where it comes later, NaN where most have none."""
    time = here[f"{name}_time"].where(~here[f"{name}_censored"].astype(bool), np.inf).transpose("seed", "n").values
    return _middle(time, least=time.shape[0] / 2)


def _middle(values: np.ndarray, *, least: float) -> np.ndarray:
    """Quartiles of each column's known numbers, (3, n); NaN where these are not more than `least`."""
    found = np.full((len(MIDDLE), values.shape[1]), np.nan)
    for place, column in enumerate(values.T):
        known = column[~np.isnan(column)]
        if known.size > least:
            found[:, place] = np.quantile(known, MIDDLE, method="nearest")
    return found


def _costs(axes: Axes, here: xr.Dataset) -> None:
    n = here["n"].values
    for shift, (name, look) in zip((0.97, 1.0, 1.03), STOPS.items(), strict=True):
        if name not in here:  # records of earlier versions know the cost at the end alone
            continue
        low, middle, high = _middle(here[name].transpose("seed", "n").values, least=0)
        axes.errorbar(n * shift, middle, yerr=[middle - low, high - middle], linestyle="-", linewidth=0.8, **look)
    axes.axhline(1, color="0.6", linestyle=":", zorder=0)
    axes.set(xscale="log", xlabel="samples n", ylabel="test loss over its lowest")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.3 * (high - low))  # room for the legend
    _ticks(axes, n)
    axes.legend(fontsize="small", loc="upper right")
