"""Nets in which nothing is memorized do not alarm; images held by heart are found by loss and std, less by the others.

Top: every row of a table, score × layer × noise level, sorted by the mean over nets (line); a point is a row of one
net, filled where its interval, which holds for all rows of that net's table together, excludes chance: an alarm in the
two controls where nothing is memorized, a find in convolutional nets without biases that hold a few images among many
by heart, as gains on the same nets before. Bottom: the first of these nets, its most and least suspicious images by the
loss; bold orange: those it saw many times.
"""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from figures.look import sheet, style

COLOURS = {"scale-free": "0.6", "std": "#0072B2", "loss": "#D55E00", "input": "black"}
WORDS = {
    "scale-free": "scale-free score of a layer",
    "std": "std of a layer",
    "loss": "loss at the sample",
    "input": "control of the input",
}
TITLES = {
    "untrained": ("untrained net", "AUROC − ½"),
    "generalizing": ("trained on many images", "AUROC − untrained net's"),
    "overfitted": ("{duplicates} images held by heart", "AUROC − net's before"),
}


def draw(data: xr.Dataset) -> Figure:
    """Three tables and a contact sheet."""
    figure = plt.figure(figsize=(style.PAGE, 5.2))
    grid = figure.add_gridspec(2, 1, height_ratios=(1, 0.62))
    inner = grid[0].subgridspec(1, len(TITLES))
    panels = [figure.add_subplot(inner[column]) for column in range(len(TITLES))]
    for letter, axes, name in zip("abc", panels, TITLES, strict=True):
        _table(axes, data.sel(control=name), name, letter, data.attrs["duplicates"])
    panels[0].set_ylabel("rows of the table, sorted")
    handles = [
        Line2D([], [], color=color, marker="o", linestyle="", label=WORDS[kind]) for kind, color in COLOURS.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize="small")
    half = -(-data.sizes["shown"] // 2)
    inner = grid[1].subgridspec(1, 2)
    ranked = str(data.attrs["ranked_by"]).replace("_", " ")
    sheet.draw(figure.add_subplot(inner[0]), data, slice(0, half), f"d  most suspicious, by {ranked}")
    sheet.draw(figure.add_subplot(inner[1]), data, slice(half, None), "e  least suspicious")
    return figure


def _kind(name: str) -> str:
    if name.startswith("denoising_loss"):
        return "loss"
    if "/" not in name:
        return "input"
    return "std" if name.split("/")[1].startswith("std") else "scale-free"


def _table(axes: Axes, data: xr.Dataset, name: str, letter: str, duplicates: int) -> None:
    estimate = data["estimate"].transpose("net", "line").values
    apart = ((data["low"] > 0) | (data["high"] < 0)).transpose("net", "line").values
    order = np.argsort(estimate.mean(axis=0), kind="stable")
    colours = [COLOURS[_kind(str(line))] for line in data["line"].values]
    axes.plot(estimate.mean(axis=0)[order], np.arange(order.size), color="0.35", lw=0.8, zorder=1)
    for place, index in enumerate(order):
        color, top = colours[index], 2 if colours[index] == COLOURS["scale-free"] else 3
        for mask, face, size in ((apart[:, index], color, 7), (~apart[:, index], "none", 3)):
            values = estimate[mask, index]
            axes.scatter(values, np.full(values.size, place), size, face, edgecolors=color, linewidths=0.4, zorder=top)
    axes.axvline(0, color="0.35", linestyle="--", linewidth=0.9)
    title, label = TITLES[name]
    nets = len(estimate)
    words = f"{int(apart.sum())} of {nets} × {order.size} rows alarm"
    if name == "overfitted":
        words = f"{int((data['low'] > 0).all('net').sum())} rows find them in all {nets} nets"
    style.panel_letter(axes, letter, f"{title.format(duplicates=duplicates)}:\n{words}")
    axes.set(xlabel=label, yticks=[])
    axes.xaxis.set_major_locator(MaxNLocator(4))
