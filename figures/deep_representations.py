"""In a deep net fewer hidden neurons answer memorized images than others: participation ratio, in every block.

Activations of one sample, sorted; the paper's score (std) and a scale-free one (participation ratio) over samples in
one layer; and the share of neurons that take part in every layer, nets on few images beside nets on many. The std,
which follows a layer's gain, tells memorized images apart in the last block and points the other way in earlier ones;
attention and the residual stream need not follow at all, as the last panel shows.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures.look import style

LOOKS: dict[str, tuple[Any, Any, Any]] = {
    "few, training": ("#D55E00", "o", "-"),
    "few, fresh": ("#E69F00", "^", "--"),
    "many, training": ("#0072B2", "s", "-"),
    "many, fresh": ("#56B4E9", "v", "--"),
    "memorized": ("#D55E00", "o", "-"),
    "others": ("#0072B2", "s", "-"),
}

GROUPS = {
    "few, training": "net on few images, its own",
    "few, fresh": "net on few, fresh images",
    "many, training": "net on many images, its own",
    "many, fresh": "net on many, fresh images",
    "memorized": "memorized images",
    "others": "other images",
}


def draw(data: xr.Dataset) -> Figure:
    """One sample and the two scores of all samples in its layer; all layers."""
    figure, grid = plt.subplots(2, 2, figsize=(style.PAGE, 5.0))
    _bars(grid[0, 0], data)
    _distribution(grid[0, 1], data, "std", "std of $h$", "b")
    _distribution(grid[1, 0], data, "participation_ratio", r"participation ratio $(\sum h^2)^2/\sum h^4$", "c")
    _layers(grid[1, 1], data)
    figure.legend(handles=_handles(data), loc="outside upper left", ncols=2)
    return figure


def _handles(data: xr.Dataset) -> list[Line2D]:
    looks = {group: LOOKS[group] for group in map(str, data["group"].values)}
    return [
        Line2D([], [], color=color, marker=marker, linestyle=line, markersize=4, label=GROUPS[group])
        for group, (color, marker, line) in looks.items()
    ]


def _pair(data: xr.Dataset) -> list[str]:
    """The two groups that should differ."""
    groups = [str(group) for group in data["group"].values]
    return groups if len(groups) == 2 else ["few, training", "many, training"]


def _bars(axes: Axes, data: xr.Dataset) -> None:
    for group in _pair(data):
        bars = data["bar"].sel(group=group).values
        color, _, line = LOOKS[group]
        axes.step(np.arange(1, len(bars) + 1), bars, line, where="mid", color=color)
    axes.set(xlabel="neurons, the most active first", ylabel="activation $h$", ylim=(0, None))
    style.panel_letter(axes, "a", f"one sample, {_words(data.attrs['shown'])}")


def _distribution(axes: Axes, data: xr.Dataset, score: str, words: str, letter: str) -> None:
    values = data["value"].sel(score=score)
    edges = np.linspace(float(values.min()), float(values.max()), 26).tolist()
    for group in map(str, data["group"].values):
        part = values.sel(group=group).values
        color, _, line = LOOKS[group]
        axes.hist(part[np.isfinite(part)], edges, density=True, histtype="step", color=color, linestyle=line)
    axes.set(xlabel=words, ylabel="density of samples", yticks=[])
    style.panel_letter(axes, letter, f"all samples, {_words(data.attrs['shown'])}")


def _layers(axes: Axes, data: xr.Dataset) -> None:
    layers = [str(layer) for layer in data["layer"].values]
    heights = np.arange(len(layers))
    for place, group in enumerate(map(str, data["group"].values)):
        color, marker, _ = LOOKS[group]
        members = data["mean"].sel(group=group, score="participation_ratio") / data["width"]
        sem = members.std("seed", ddof=1) / np.sqrt(members.sizes["seed"]) if members.sizes["seed"] > 1 else None
        axes.errorbar(
            members.mean("seed"),
            heights + 0.13 * (place - 1.5),
            xerr=sem,
            fmt=marker,
            color=color,
            markersize=4,
        )
    axes.set_yticks(heights, [_words(layer) for layer in layers])
    axes.invert_yaxis()
    axes.set(xlabel="participation ratio over width", xlim=(0, None))
    seeds = data.sizes["seed"]
    style.panel_letter(axes, "d", "all layers" + (f", mean ± SEM over {seeds} nets" if seeds > 1 else ""))


def _words(layer: str) -> str:
    return layer.replace("block", "block ").replace(".", ", ")
