"""Representations of memorized samples are spiky, those of generalized samples balanced: scores tell them apart.

First row: h of one noisy sample of each kind, neurons by activation. Then the distributions of every score over samples
and seeds, with the AUROC (never flipped) of memorized against generalized training samples, and theory's one-hot h.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dae_theory import compare
from figures.look import style

LOOKS = (
    ("#D55E00", "-", "memorizing, training"),
    ("#0072B2", "--", "generalizing, training"),
    ("#009E73", ":", "generalizing, held out"),
)
SYMBOLS = {
    "std": "std of $h$",
    "l4_over_l2": r"$\|h\|_4/\|h\|_2$",
    "kurtosis": "excess kurtosis",
    "participation_ratio": "participation ratio",
    "gini": "Gini index",
    "max_share": "largest share of $h^2$",
}
NEURONS = 30


def draw(data: xr.Dataset) -> Figure:
    """A row of bars, then a row for each score, a column for each kind of data."""
    kinds, scores = data["kind"].values, data["score"].values
    said = {row.claim: row for row in compare.kept(data)}
    figure, grid = plt.subplots(
        1 + len(scores), len(kinds), figsize=(style.PAGE, 0.9 * (1 + len(scores)) + 0.5), squeeze=False
    )
    for column, name in enumerate(kinds):
        at = data.sel(kind=name)
        _bars(grid[0, column], at)
        few, many = (int(n) for n in at["samples"].values)
        words = f"{name}: $n={few}$ and ${many}$\none sample's neurons, by activation"
        grid[0, column].set_title(words, loc="left", fontsize="small")
        for row, score in enumerate(scores):
            _distributions(
                grid[row + 1, column], at.sel(score=score), SYMBOLS[str(score)], said[f"{name}: AUROC of {score}"]
            )
    for row in range(len(scores)):
        grid[row + 1, 0].set_ylabel("share below")
    grid[0, 0].set_ylabel("activation $h_j$")
    handles, labels = grid[1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    figure.suptitle(
        "nets on few samples memorize them, nets on many generalize; below, each score over all samples\n"
        "AUROC: training samples of the memorizing against those of the generalizing nets; thin: single nets",
        x=0.01,
        ha="left",
        fontsize="medium",
    )
    return figure


def _bars(axes: Axes, at: xr.Dataset) -> None:
    for (color, _, label), regime, shift in zip(LOOKS, at["regime"].values, (-0.2, 0.2), strict=False):
        bars = np.sort(at["bars"].sel(regime=regime).values)[::-1][:NEURONS]
        axes.bar(np.arange(1, len(bars) + 1) + shift, bars, width=0.4, color=color, label=label.split(",")[0])
    axes.legend(fontsize="x-small", loc="upper right")


def _distributions(axes: Axes, at: xr.Dataset, symbol: str, auroc: compare.Row) -> None:
    """Cumulative distributions over samples and seeds, the seeds' own as thin lines."""
    for (color, line, label), group in zip(LOOKS, at["group"].values, strict=True):
        values = at["scores"].sel(group=group)
        for seed in range(values.sizes["seed"]):
            _cumulative(axes, values.isel(seed=seed).values, color=color, linestyle=line, linewidth=0.4, alpha=0.6)
        _cumulative(axes, values.values.ravel(), color=color, linestyle=line, label=label)
    axes.axvline(float(at["theory"]), color="0.2", linewidth=0.8, linestyle="-.", label="theory: one neuron active")
    axes.set_title(symbol, loc="left", fontsize="small", pad=3, x=-0.12)  # over the numbers, or it meets the AUROC
    axes.set_title(f"AUROC {auroc.measured:.3f} ± {auroc.sem:.3f}", loc="right", fontsize="x-small", pad=3)
    axes.set(yticks=(0, 0.5, 1), ylim=(-0.03, 1.03))


def _cumulative(axes: Axes, values: np.ndarray, **look: Any) -> None:
    values = np.sort(values[np.isfinite(values)])
    axes.plot(values, np.arange(1, len(values) + 1) / max(len(values), 1), **look)
