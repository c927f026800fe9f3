"""A skip connection, not depth and not biases, hides duplicated samples from Gini and turns the std around.

One column a kind of net, one place a hidden layer of nets of one, two and three; points are means over seeds, with SEM.

top     AUROC of the std, of Gini and of the participation ratio, duplicated against seen once; the control, the loss
second  share of what a layer holds of a sample that its most active neuron carries, and its 16 most active ones: above
        1 where neurons cancel, so that a few silenced cost more than all
third   loss that half of the neurons, kept at random, add, over what the layer holds
bottom  dimension of the representations of noisy copies of a sample

Parallel neurons were merged for the second row; these nets have next to none, so that it changes nothing there.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.look import style

KINDS = ("no biases, no skip", "biases, no skip", "no biases, skip", "biases, skip")
SCORES = {
    "std": ("std (the paper's)", "o", "-", "#0072B2"),
    "gini": ("Gini", "s", "--", "#E69F00"),
    "participation_ratio": ("− participation ratio", "^", "-.", "#009E73"),
}
CONTROL = ("− loss at the sample", "x", ":", "0.35")
ROWS = (
    "AUROC, duplicated\nagainst once",
    "share of the\nsample carried",
    "loss added, over\nwhat is stored",
    "dimension of $h$\nat noisy copies",
)
LEGENDS = ("score", "by most active neurons", "half of the neurons cut", "copies of a sample")
WORDS = {"once": "seen once", "fresh": "never seen"}
DUPLICATED, OTHER = "#D55E00", "#0072B2"


def draw(data: xr.Dataset) -> Figure:
    """Four columns of four panels."""
    figure, grid = plt.subplots(4, len(KINDS), figsize=(style.PAGE, 6.2), sharex=True, sharey="row")
    for column, kind in enumerate(KINDS):
        at = data.isel(layer=[index for index, net in enumerate(data["net"].values) if net.split(", ", 1)[1] == kind])
        style.panel_letter(grid[0, column], "abcd"[column], kind)
        _areas(grid[0, column], at)
        _carried(grid[1, column], at)
        _lost(grid[2, column], at)
        _dimensions(grid[3, column], at)
        nets = [str(net).split()[0] for net in at["net"].values]
        names = [f"{place}/{net}" for place, net in zip(at["place"].values, nets, strict=True)]
        grid[3, column].set_xticks(range(len(names)), names)
    figure.align_ylabels(grid[:, 0])
    figure.supxlabel("hidden layer / all hidden layers of its net: 2/3 is the second of three", fontsize="medium")
    for axes, label in zip(grid[:, 0], ROWS, strict=True):
        axes.set_ylabel(label)
    grid[0, 0].set_ylim(-0.04, 1.04)
    grid[3, 0].set_ylim(0, 1.1 * float(data["cloud"].max()))
    for row, title in enumerate(LEGENDS):
        handles, labels = grid[row, 0].get_legend_handles_labels()
        look: dict[str, Any] = {"fontsize": "x-small", "title_fontsize": "x-small", "alignment": "left"}
        grid[row, -1].legend(handles, labels, title=title, loc="upper left", bbox_to_anchor=(1.0, 1.06), **look)
    figure.suptitle(
        f"samples seen {data.attrs['copies']} times (duplicated) beside samples seen once\n"
        f"mean ± SEM over {data.sizes['seed']} nets; lines join the layers of a net",
        x=0.01,
        ha="left",
        fontsize="medium",
    )
    return figure


def _places(at: xr.Dataset) -> list[np.ndarray]:
    """Places of the layers of each net, so that lines join layers of one net only."""
    nets = at["net"].values
    return [np.flatnonzero(nets == net) for net in dict.fromkeys(nets)]


def _line(
    axes: Axes,
    at: xr.Dataset,
    values: xr.DataArray,
    look: tuple[str, str, str, str],
    face: str = "",
    shift: float = 0.0,
) -> None:
    label, marker, line, color = look
    mean = values.mean("seed").values
    sem = values.std("seed", ddof=1).values / np.sqrt(values.sizes["seed"])
    for number, place in enumerate(_places(at)):
        axes.errorbar(
            place + shift,
            mean[place],
            yerr=sem[place],
            fmt=marker + line,
            color=color,
            markerfacecolor=face or color,
            markersize=3.5,
            linewidth=0.9,
            label=label if number == 0 else None,
        )


def _areas(axes: Axes, at: xr.Dataset) -> None:
    for shift, (score, look) in zip((-0.18, -0.06, 0.06), SCORES.items(), strict=True):
        _line(axes, at, at["auroc"].sel(score=score), look, shift=shift)
    _line(axes, at, at["control"], CONTROL, shift=0.18)
    axes.axhline(0.5, color="0.6", linestyle=":", linewidth=0.8)


def _carried(axes: Axes, at: xr.Dataset) -> None:
    most = int(at["count"].values[-1])
    for kind, color, word in (("duplicated", DUPLICATED, "duplicated"), ("once", OTHER, "seen once")):
        for count, line, marker, face in ((1, "-", "o", color), (most, "--", "s", "white")):
            values = at["carried"].sel(kind=kind, count=count, version="merged")
            _line(axes, at, values, (f"{word}, by {count}", marker, line, color), face)
    axes.axhline(1, color="0.6", linestyle=":", linewidth=0.8)
    axes.set_yscale("log")
    _plain_ticks(axes, (0.1, 0.3, 1, 3, 10))


def _lost(axes: Axes, at: xr.Dataset) -> None:
    share = float(at["share"].values[np.abs(at["share"].values - 0.5).argmin()])
    for kind, color, marker in (("duplicated", DUPLICATED, "o"), ("once", OTHER, "s")):
        values = at["lost"].sel(kind=kind, version="trained", share=share)
        _line(axes, at, values, (WORDS.get(kind, kind), marker, "-", color))
    axes.set_yscale("log")
    _plain_ticks(axes, (0.1, 1, 10, 100))


def _plain_ticks(axes: Axes, ticks: tuple[float, ...]) -> None:
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def _dimensions(axes: Axes, at: xr.Dataset) -> None:
    for kind, color, marker in (("duplicated", DUPLICATED, "o"), ("fresh", "black", "^")):
        _line(axes, at, at["cloud"].sel(of=kind), (WORDS.get(kind, kind), marker, "-", color))
