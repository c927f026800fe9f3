"""Generalize first, memorize later: both times against n, for Adam, for plain descent and for its gradient flow.

Curves of one setting over training, and the two times with their exponents; Bonnaire et al.'s τ_mem ∝ n as a line.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.look import style

RULES: dict[str, dict[str, Any]] = {
    "adam": {"color": "#0072B2", "marker": "o"},
    "sgd": {"color": "#D55E00", "marker": "s"},
    "flow": {"color": "black", "marker": "x"},
}
WORDS = {"adam": "Adam", "sgd": "gradient descent", "flow": "gradient flow"}


def draw(data: xr.Dataset) -> Figure:
    """Index and test loss over time for every n; below, the two times over n, medians with all runs behind them."""
    width, decay = data["p"].values[-1], data["weight_decay"].values[0]
    here = data.sel(p=width, weight_decay=decay)
    figure, ((first, second), (third, fourth)) = plt.subplots(2, 2, figsize=(style.PAGE, 5.0))
    colors = plt.get_cmap("viridis")(np.linspace(0, 0.92, data.sizes["n"]))
    for axes, name, label in ((first, "index", "index, 1 = memorizing"), (second, "test_loss", "test loss")):
        for n, color in zip(data["n"].values, colors, strict=True):
            curve = here[name].sel(rule="adam", n=n).mean("seed")
            axes.plot(data["step"], curve, color=color, label=f"{n}")
        axes.set(xscale="log", xlabel="optimizer steps of Adam", ylabel=label)
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
        axes.plot(n[seen], time.values[seen], linestyle="", markersize=4, label=f"{WORDS[rule]}{words}{fit}", **look)
        axes.plot(n[later], time.values[later], "^", mfc="none", markersize=4, color=look["color"])
        axes.plot(n[early], time.values[early], "v", mfc="none", markersize=4, color=look["color"])
    axes.set(xscale="log", yscale="log", xlabel="samples n", ylabel=f"{symbol}, steps")
    axes.set_xticks(data["n"].values, [f"{n}" for n in data["n"].values])
    axes.minorticks_off()
    low, high = np.nanmin([data[f"{name}_time"].min(), data["step"].max() / 10]), 1.3 * float(data["step"].max())
    axes.set_ylim(low / (high / low) ** 0.6, high)  # room for the legend
    axes.legend(fontsize="small", loc="lower right")


def _law(axes: Axes, n: np.ndarray) -> None:
    """τ ∝ n, at a height that is not fitted: through the middle of the panel."""
    limits = axes.get_ylim()
    middle = np.sqrt(limits[0] * limits[1])
    axes.plot(
        n, middle * n / np.sqrt(n[0] * n[-1]), color="grey", linestyle="--", label=r"$\propto n$, Bonnaire et al."
    )
    axes.set_ylim(limits)
    axes.legend(fontsize="small", loc="lower right")
