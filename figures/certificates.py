"""What trained nets converge to: verdicts of certificates over the width, and loss against the growth of a newcomer.

Narrow nets end in minima in which a new neuron would grow; those that hold every sample are global minima. The loss
over the growth bounds the loss of any width from below, which the points in the second panel obey.
"""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binomtest

from figures.look import style

SHADES = ("#000000", "#CC79A7", "#E69F00", "#56B4E9", "#0072B2")
HATCHES = ("", "xx", "..", "//", "")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def draw(data: xr.Dataset) -> Figure:
    """Shares on the left, losses on the right."""
    figure, axes = plt.subplots(1, 2, figsize=(style.PAGE, 3.3))
    _shares(axes[0], data)
    _losses(axes[1], data)
    figure.suptitle(data.attrs["data"], x=0.01, ha="left", fontsize="medium")
    return figure


def _shares(axes: Axes, data: xr.Dataset) -> None:
    widths = data["p"].values
    place, bottom = np.arange(len(widths)), np.zeros(len(widths))
    codes = data["code"].transpose("p", "seed").values
    for code, verdict in enumerate(data.attrs["verdicts"]):
        share = (codes == code).mean(axis=1)
        if share.any():
            axes.bar(
                place,
                share,
                bottom=bottom,
                width=0.7,
                color=SHADES[code],
                hatch=HATCHES[code],
                edgecolor="white",
                label=verdict.split(" (")[0],
            )
            bottom += share
    whole = (codes == len(data.attrs["verdicts"]) - 1).sum(axis=1)
    for x, count in zip(place, whole, strict=True):
        share = count / codes.shape[1]
        band = binomtest(int(count), codes.shape[1]).proportion_ci(0.95, method="wilson")
        error = [[max(share - band.low, 0)], [max(band.high - share, 0)]]
        # shares of global minima, counted down from the top of the bar
        axes.errorbar(x, 1 - share, yerr=error[::-1], fmt="none", ecolor="black", elinewidth=1.2)
    border = np.interp(data.attrs["samples"], widths, place) - 0.5
    axes.axvline(border, color="black", linestyle="--", linewidth=1, label=r"right of it $p\geq n$")
    axes.set_xticks(place, [f"{width}" for width in widths])
    axes.set(xlabel="neurons $p$", ylabel=f"share of nets ({codes.shape[1]} a width)", ylim=(0, 1))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=1)
    style.panel_letter(axes, "a", "certificates")


def _losses(axes: Axes, data: xr.Dataset) -> None:
    best, samples = data.attrs["stored_loss"], data.attrs["samples"]
    growth, loss = data["growth"].values.ravel(), data["loss"].values.ravel() / best
    missing = (samples - data["stored"].values.ravel()).astype(int)
    for kind, marker in zip(np.unique(missing), MARKERS, strict=False):
        here = missing == kind
        label = "all samples held" if kind == 0 else f"{kind} without a neuron"
        axes.plot(np.maximum(growth[here], 1), loss[here], marker, alpha=0.7, label=label)
    top = np.geomspace(1, max(growth.max() * 1.5, 2))
    axes.plot(top, top, "-", color="0.35", label="bound: best loss × growth")
    axes.axhline(1, color="0.35", linestyle=":", label="theory: loss at the minimizer next to (9)")
    axes.set(xscale="log", yscale="log", xlabel=r"growth of a newcomer $G/\lambda$", ylabel="loss over theory's")
    axes.set_ylim(0.8, max(loss.max() * 1.3, 2))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    style.panel_letter(axes, "b", "a net that misses a sample is told to grow")
