"""Which score to trust: loss at the sample and local dimension hold in every net and against all; others are fooled.

Top: AUROC of memorized samples, first against ordinary ones (blue, near 1: the score works), then against samples that
stand out without being memorized: a score that falls to ½ or below takes those for memorized. Bottom: these against
ordinary ones; red: a false alarm; the two of the title rise on easy samples as well, less than on memorized ones.
White: the interval, by net where there are several, contains ½. At the right, the cost of a score in forward passes,
measured in the convolutional net; in the smaller ones a pass is shorter than what surrounds it.

easy: nearest to their cluster's mean, images of least contrast; long: of the largest norm; near: a memorized sample
moved by a little; source: of another mixture, faces instead of digits.
"""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.look import style

WORDS = {
    "std": "std of the representation",
    "gini": "Gini of the representation",
    "loss": "− loss at the sample",
    "score norm": r"norm of the score $\|f-y\|/\sigma^2$",
    "local dimension": "− local dimension (FLIPD)",
    "kept directions": "− directions kept by the Jacobian",
    "curvature": r"curvature $-\Delta\log p_\sigma$",
    "flattest": "curvature, flattest direction",
}
NETS = {
    "two-layer": "two-layer nets, mixture",
    "relu": "ReLU net, images",
    "convolutional": "convolutional net, images",
}
AGAINST = {
    "ordinary": "ordinary",
    "easy": "easy",
    "large norm": "long",
    "near duplicate": "near",
    "other source": "source",
}


def draw(data: xr.Dataset) -> Figure:
    """One row a score, one block a net, one column a kind of samples that memorized ones are told from."""
    figure, (finds, fooled) = plt.subplots(2, 1, figsize=(style.PAGE, 5.6), height_ratios=(1, 1))
    _map(finds, data, "finds", list(AGAINST), "RdBu")
    style.panel_letter(
        finds,
        "a",
        "AUROC of memorized samples against others  (1: found, ½ or below: not told apart)",
    )
    _map(fooled, data, "fooled", [name for name in AGAINST if name != "ordinary"], "RdBu_r")
    style.panel_letter(
        fooled, "b", "AUROC of other samples against ordinary ones, neither memorized  (½: not fooled, 1: false alarm)"
    )
    for row, cost in enumerate(data["cost"].sel(net="convolutional").values):
        finds.annotate(f"{cost:.0f}", (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize="x-small")
    finds.annotate("passes", (1.01, -0.9), xycoords=("axes fraction", "data"), va="center", fontsize="x-small")
    return figure


def _map(axes: Axes, data: xr.Dataset, name: str, against: list[str], cmap: str) -> None:
    """Blocks of AUROCs; cells whose interval contains ½ are white."""
    scores, columns = [str(score) for score in data["score"].values], 0
    ticks, labels = [], []
    for net, words in NETS.items():
        block = data[name].sel(net=net, against=against)
        values = block.sel(bound="estimate").values
        unsure = (block.sel(bound="low").values <= 0.5) & (block.sel(bound="high").values >= 0.5)
        extent = (columns - 0.5, columns + len(against) - 0.5, len(scores) - 0.5, -0.5)
        axes.imshow(np.where(unsure, np.nan, values), extent=extent, cmap=cmap, vmin=0, vmax=1, aspect="auto")
        for row, column in np.ndindex(values.shape):
            dark = not unsure[row, column] and abs(values[row, column] - 0.5) > 0.33
            number = f"{values[row, column]:.2f}".removeprefix("0")
            look = {"ha": "center", "va": "center", "fontsize": 6.5, "color": "white" if dark else "black"}
            axes.text(columns + column, row, number, **look)
        ticks += [columns + column for column in range(len(against))]
        labels += [AGAINST[kind] for kind in against]
        axes.annotate(words, (columns + (len(against) - 1) / 2, -0.62), ha="center", va="bottom", fontsize="x-small")
        columns += len(against) + 1
    axes.set_facecolor("white")
    axes.set_xticks(ticks, labels, fontsize="x-small", rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(scores)), [WORDS[score] for score in scores], fontsize="x-small")
    axes.set(xlim=(-0.5, columns - 1.5), ylim=(len(scores) - 0.5, -1.1))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
