"""Steering moves memorized samples in larger steps than generalized ones; neither jumps, in a transformer either.

a, b  response to (11): way towards the target against the dose, at every step of a sampler, in two-layer nets and in a
      small diffusion transformer on the same data, of which the last hidden layer is steered
c     the same in two-layer nets, steered k times in a row
d     largest step of the output as a share of its path; dotted: steps all alike. Dashes here: block weights
e     by how much twice as many doses shrink it: 2 for a smooth curve, 1 for a jump
f     monotonicity
"""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.look import style

LOOKS = {
    "generalized, own cluster": ("^", "-.", "#009E73"),
    "generalized, other cluster": ("o", "-", "#0072B2"),
    "memorized, other cluster": ("s", "--", "#D55E00"),
}


def draw(data: xr.Dataset) -> Figure:
    """Responses above, what is measured on them below."""
    figure, grid = plt.subplot_mosaic("abc;def", figsize=(style.PAGE, 5.0), height_ratios=(1.1, 1))
    procedures = data["procedure"].values
    times = f"{procedures[-2].replace(' ×', '×')}, $\\sigma$ = {data.attrs['level']:.2g}"
    for letter, procedure, model, words in (
        ("a", procedures[-1], "nets", "two-layer, in a sampler"),
        ("b", procedures[-1], "deep", "transformer, in a sampler"),
        ("c", procedures[-2], "nets", f"two-layer, {times}"),
    ):
        _responses(grid[letter], data.sel(procedure=procedure), model)
        style.panel_letter(grid[letter], letter, words)
    grid["a"].set_ylabel("way towards the target,\nof unit vectors")
    _measure(grid["d"], data, data["largest_step"])
    grid["d"].set_yscale("log")
    grid["d"].axhline(1 / (data.attrs["doses"] - 1), color="0.6", linestyle=":", linewidth=0.9)
    grid["d"].set(ylabel="largest step / path", ylim=(0.01, 0.7))
    grid["d"].set_yticks([0.01, 0.03, 0.1, 0.3], ["0.01", "0.03", "0.1", "0.3"])
    grid["d"].minorticks_off()
    style.panel_letter(grid["d"], "d", "largest step")
    _measure(grid["e"], data, data["largest_step_halved"] / data["largest_step"])
    for level, word in ((2, "smooth"), (1, "a jump")):
        grid["e"].axhline(level, color="0.6", linestyle=":", linewidth=0.9)
        grid["e"].annotate(
            word,
            (1, level),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2 if level == 2 else -2),
            textcoords="offset points",
            ha="right",
            va="bottom" if level == 2 else "top",
            color="0.35",
            fontsize="small",
        )
    grid["e"].set(ylim=(0.85, 2.2), ylabel="largest step,\ndoses halved / all")
    style.panel_letter(grid["e"], "e", "jump or steep curve?")
    _measure(grid["f"], data, data["monotonicity"])
    grid["f"].set(ylim=(-1.05, 1.08), ylabel="rank correlation with dose")
    style.panel_letter(grid["f"], "f", "monotonicity")
    _legend(figure, grid["a"], data.sizes["seed"])
    return figure


def _responses(axes: Axes, data: xr.Dataset, model: str) -> None:
    """Nets as points with SEM over seeds, beside two-layer ones theory's block weights as lines."""
    dose = data["dose"].values
    for number, (condition, (marker, line, color)) in enumerate(LOOKS.items()):
        at = data["moved"].sel(condition=condition)
        mean, sem = _mean(at.sel(model=model))
        few = slice(2 * number, None, 6)
        axes.errorbar(dose[few], mean.values[few], yerr=sem.values[few], fmt=marker, color=color)
        if model == "nets":
            axes.plot(dose, at.sel(model="analytic").mean("seed"), linestyle=line, color=color, linewidth=1.0)
    axes.axhline(0, color="0.8", linewidth=0.7, zorder=0)
    axes.set_xlabel(r"dose $\Sigma a$")


def _measure(axes: Axes, data: xr.Dataset, values: xr.DataArray) -> None:
    """A group a procedure: nets filled, the transformer as crosses, f_gt open, theory's block weights as dashes."""
    procedures = data["procedure"].values
    for number, (condition, (marker, _, color)) in enumerate(LOOKS.items()):
        at = values.sel(condition=condition).transpose("procedure", "seed", "model")
        place = np.arange(len(procedures)) + 0.26 * (number - 1)
        mean, sem = _mean(at)
        axes.errorbar(place, mean.sel(model="nets"), yerr=sem.sel(model="nets"), fmt=marker, color=color)
        axes.plot(place, mean.sel(model="analytic"), "_", color=color, markersize=8)
        axes.plot(place + 0.09, mean.sel(model="deep"), "x", color=color, markersize=4)
        axes.plot(place, mean.sel(model="f_gt"), marker, color=color, markerfacecolor="white", zorder=1.5)
    axes.set_xticks(
        range(len(procedures)), [name.replace(" ×", "×").replace("sampler", r"all $\sigma$") for name in procedures]
    )
    axes.set_xlim(-0.5, len(procedures) - 0.5)
    axes.set_xlabel("times (11) is applied")


def _mean(values: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    return values.mean("seed"), values.std("seed", ddof=1) / np.sqrt(values.sizes["seed"])


def _legend(figure: Figure, axes: Axes, seeds: int) -> None:
    entries = [
        axes.plot([], [], marker, linestyle=line, color=color, label=condition.replace(", ", " → "))[0]
        for condition, (marker, line, color) in LOOKS.items()
    ]
    entries.append(axes.plot([], [], "o", color="0.3", label=f"nets, ± SEM of {seeds}")[0])
    entries.append(axes.plot([], [], "x", color="0.3", label="transformer")[0])
    entries.append(axes.plot([], [], color="0.3", label="block weights (7)")[0])
    entries.append(axes.plot([], [], "o", color="0.3", markerfacecolor="white", label=r"$f_{\rm gt}$")[0])
    figure.legend(handles=entries, loc="outside upper center", ncols=3, handlelength=3.2)
