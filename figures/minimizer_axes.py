"""The minimizer over all widths at other σ and λ: more noise and more decay let it memorize less, with fewer neurons.

Left: its index at noisy training points over n; below ½ it generalizes. Middle: how far nets of one width stop above it
after the same training. Right: how many neurons it uses; the dotted line is one a sample. Colour is σ, the kind of line
is λ; bars are standard errors over data sets.
"""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures.look import style

COLOURS = ("#56B4E9", "#0072B2", "#08306B", "#D55E00")
LINES = ("-", "--", ":", "-.")


def draw(data: xr.Dataset) -> Figure:
    """Index, excess of nets, and neurons over n, a line for every σ and λ."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(style.PAGE, 3.0))
    nets = data["net_objective"].sel(schedule="decaying").isel(steps=-1, p=-1)
    _lines(left, data["index"])
    _lines(middle, 100 * (nets / data["objective"] - 1))
    _lines(right, data["neurons"])
    left.axhline(0.5, color="0.6", lw=0.8, zorder=0)
    left.set(ylabel="index of the minimizer", ylim=(0, 1))
    middle.axhline(0, color="0.6", lw=0.8, zorder=0)
    middle.set(ylabel=f"nets of p = {int(nets['p'])} above it, %")
    n = data["n"].values
    right.plot(n, n, color="0.6", ls=":", lw=0.8, zorder=0)
    right.set(ylabel="neurons of the minimizer", yscale="log")
    titles = ("what it memorizes", f"nets after {int(nets['steps'])} steps", "how many neurons")
    for letter, axes, title in zip("abc", (left, middle, right), titles, strict=True):
        axes.set(xscale="log", xlabel="training samples $n$")
        axes.set_xticks(n, [str(value) for value in n])
        axes.minorticks_off()
        style.panel_letter(axes, letter, title)
    figure.legend(handles=_handles(data), loc="outside lower center", ncols=6)
    return figure


def _lines(axes: Axes, values: xr.DataArray) -> None:
    """Means and standard errors over data sets."""
    for sigma, colour in zip(values["noise_std"].values, COLOURS, strict=False):
        for decay, line in zip(values["weight_decay"].values, LINES, strict=False):
            at = values.sel(noise_std=sigma, weight_decay=decay)
            error = at.std("seed", ddof=1) / np.sqrt(at.sizes["seed"])
            axes.errorbar(at["n"], at.mean("seed"), error, color=colour, ls=line, marker="o", ms=3, capsize=2)


def _handles(data: xr.Dataset) -> list[Line2D]:
    sigmas = zip(data["noise_std"].values, COLOURS, strict=False)
    decays = zip(data["weight_decay"].values, LINES, strict=False)
    return [Line2D([], [], color=colour, label=rf"$\sigma$ = {sigma:g}") for sigma, colour in sigmas] + [
        Line2D([], [], color="black", ls=line, label=rf"$\lambda$ = {decay:g}") for decay, line in decays
    ]
