"""How far the minimizer is known: a second search, from other starts and to a third of the gap, finds nearly the same.

a: relative gap between a minimizer's objective and the bound [X6] that no net of any width is below, one mark a data
set; dotted, what the searches were asked for. b: exact distance of the two minimizers found for the same data, beside
what their gaps allow, and beside the distance of trained nets from the first. c: index at noisy training points of the
same nets: what is missing to the minimizer is large against what a second search moves.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from figures.look import style

FIRST: dict[str, Any] = {"color": "black", "marker": "o", "ls": ""}
SECOND: dict[str, Any] = {"color": "#D55E00", "marker": "s", "ls": "", "mfc": "white"}
NETS: tuple[dict[str, Any], ...] = (
    {"color": "#56B4E9", "marker": "v", "ls": ""},
    {"color": "#0072B2", "marker": "D", "ls": ""},
)
APART = 1.05  # by which marks of one n are moved along the axis


def draw(data: xr.Dataset) -> Figure:
    """Gaps, distances and index over n, one mark a data set that was searched twice."""
    data = data.isel(noise_std=0, weight_decay=0)
    data = data.isel(seed=np.flatnonzero(data["second_index"].notnull().all("n")))
    figure, (gap, distance, index) = plt.subplots(1, 3, figsize=(style.PAGE, 3.2))
    _gaps(gap, data)
    _distances(distance, data)
    _indices(index, data)
    for axes in (gap, distance, index):
        axes.set(xscale="log", xlabel="training samples $n$")
        axes.set_xticks(data["n"].values, [str(value) for value in data["n"].values])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.margins(x=0.15)
    of_nets, of_gaps = index.get_legend_handles_labels(), distance.get_legend_handles_labels()
    figure.legend(of_nets[0] + of_gaps[0], of_nets[1] + of_gaps[1], loc="outside lower center", ncols=3)
    figure.suptitle(
        f"{data.attrs['data']}, d = {data.attrs['dimension']}, "
        rf"$\sigma$ = {float(data['noise_std']):g}, $\lambda$ = {float(data['weight_decay']):g}; "
        f"{data.sizes['seed']} data set{'s' if data.sizes['seed'] > 1 else ''} an $n$",
        x=0.01,
        ha="left",
        fontsize="medium",
    )
    return figure


def _marks(axes: Axes, values: xr.DataArray, shift: int, look: dict[str, Any], label: str | None = None) -> None:
    n = np.broadcast_to(values["n"].values[:, None], (values.sizes["n"], values.sizes["seed"]))
    axes.plot((n * APART**shift).ravel(), values.transpose("n", "seed").values.ravel(), label=label, **look)


def _gaps(axes: Axes, data: xr.Dataset) -> None:
    wide = data.attrs["tolerance"]
    for share in (wide, wide / 3):
        axes.axhline(100 * share, color="0.5", ls=":", lw=0.9, zorder=0)
    _marks(axes, 100 * data["gap"], -1, FIRST)
    _marks(axes, 100 * data["second_gap"], 1, SECOND)
    axes.set(ylabel="gap to the bound [X6], %")
    axes.set_ylim(bottom=0)
    style.panel_letter(axes, "a", "objective: gap")


def _distances(axes: Axes, data: xr.Dataset) -> None:
    bound = xr.where(data["lower_bound"] > data["second_lower_bound"], data["lower_bound"], data["second_lower_bound"])
    first, second = ((data[name] - bound).clip(0) ** 0.5 for name in ("objective", "second_objective"))
    _marks(axes, data["early_distance"] ** 0.5, -1, NETS[0])
    _marks(axes, data["late_distance"] ** 0.5, 1, NETS[1])
    _marks(axes, first + second, 0, {"color": "0.5", "marker": "_", "ms": 14, "ls": ""}, "distance that the gaps allow")
    _marks(axes, data["second_distance"].clip(0) ** 0.5, 0, SECOND)  # below zero: rounding
    axes.set(ylabel=r"$\sqrt{E\|f - f^*\|^2}$ from the first")
    axes.set_ylim(bottom=0)
    style.panel_letter(axes, "b", "function: distance")


def _indices(axes: Axes, data: xr.Dataset) -> None:
    nets = data["net_index"].sel(p=data.attrs["studied"], schedule="decaying")
    _marks(axes, data["index"], -1, FIRST, "minimizer, first search")
    _marks(axes, data["second_index"], 1, SECOND, "second search")
    for back, look in zip((-2, -1), NETS, strict=True):
        at = nets.isel(steps=back)
        _marks(axes, at, 0, look, f"nets, p = {data.attrs['studied']}, {int(at['steps']):,} steps")
    axes.axhline(0.5, color="0.5", ls=":", lw=0.9, zorder=0)
    axes.set(ylabel="index, 1 = memorizing")
    style.panel_letter(axes, "c", "index: memorizes?")
