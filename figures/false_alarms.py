"""A table of scores cries wolf no more than it states if it knows which samples share a source, and counts its rows.

Every score is noise and labels are random, so nothing is memorized. Left: how often one stated 95 % interval contains
what is so, AUROC ½ and, for two nets, a gain of 0; ignoring that crops share a source loses coverage. Right: tables
with at least one alarm; judging every row on its own alarms in nearly every second table. For gains, the sources called
memorized differ from the others in both nets (AUROC .57), which is no memorization.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dae_theory import compare
from figures.look import style

GOOD = {"color": "#0072B2", "fmt": "o"}
GAIN = {"color": "#009E73", "fmt": "^"}
NAIVE = {"color": "#D55E00", "fmt": "s", "markerfacecolor": "white"}
NAIVE_GAIN = {"color": "#CC79A7", "fmt": "v", "markerfacecolor": "white"}
STATED = 0.95


def draw(data: xr.Dataset) -> Figure:
    """Coverage of one interval and share of tables that alarm, by kind of table."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(style.PAGE, 3.9), sharey=True)
    _shares(left, data["covered"], 0.2, label="AUROC, by source", **GOOD)
    _shares(left, data["gain_covered"], 0.0, label="gain on a baseline, by source", **GAIN)
    _shares(left, data["covered_by_sample"], -0.2, label="AUROC, every crop taken as a sample", **NAIVE)
    _line(left, STATED, "stated: 95 %")
    left.set(xlabel="95 % intervals that contain the truth (%)", xlim=(50, 101))
    style.panel_letter(left, "a", "one interval: should lie on the line")
    _shares(right, data["alarm"], 0.24, label="AUROC, all rows together", **GOOD)
    _shares(right, data["gain_alarm"], 0.08, label="gain, all rows together", **GAIN)
    _shares(right, data["any_single"], -0.08, label="AUROC, each row on its own", **NAIVE)
    _shares(right, data["gain_any_single"], -0.24, label="gain, each row on its own", **NAIVE_GAIN)
    _line(right, 1 - STATED, "allowed: 5 %")
    right.set(xlabel="tables with a false alarm (%)", xlim=(-1, 80))
    style.panel_letter(right, "b", "whole table: should not lie right of the line")
    kinds = [(int(memorized), int(crops)) for memorized in data["memorized"] for crops in data["crops"]]
    names = [f"{memorized} sources,\n{crops} {'crop' if crops == 1 else 'crops'} each" for memorized, crops in kinds]
    left.set_yticks(range(len(kinds)), names)
    left.set(ylabel="called memorized, at random", ylim=(len(kinds) - 0.5, -0.5))
    for axes in (left, right):
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), frameon=False)
    figure.suptitle(
        f"False alarms where nothing is memorized: {data.sizes['table']} tables of noise of each kind, labels at random"
        "\n(bars: 95 % Wilson intervals)",
        x=0.01,
        ha="left",
        fontsize="medium",
    )
    return figure


def _shares(axes: Axes, values: xr.DataArray, above: float, *, color: str, fmt: str, **look: Any) -> None:
    """Shares in percent, one line of the axis each, with their intervals."""
    stacked = values.stack(kind=("memorized", "crops")).transpose("kind", "table").values
    rows = [compare.share("share", "", int(kind.sum()), kind.size) for kind in stacked]
    share = 100 * np.asarray([row.measured for row in rows])
    ends = 100 * np.asarray([row.ends for row in rows])
    bars = np.stack([share - ends[:, 0], ends[:, 1] - share])
    axes.errorbar(share, np.arange(len(share)) - above, xerr=bars, color=color, fmt=fmt, **look)


def _line(axes: Axes, share: float, words: str) -> None:
    axes.axvline(100 * share, color="0.35", linestyle="--", linewidth=0.9, label=words, zorder=0)
