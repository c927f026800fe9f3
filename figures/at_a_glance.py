"""A net memorizes left of a boundary in n, which moves right the longer it trains; narrow nets have no boundary.

Drawn from the records `phase_diagram` and `time_map`, on data of the same settings. Colours are the index
D_gt/(D_gt + D_emp) at noisy training points, mean over seeds: red, nearer to the posterior mean over the net's own
training samples (it memorizes); blue, nearer to that of the mixture (it generalizes); white, neither: untrained, too
narrow, or with so many samples that both posterior means agree.
a  samples and neurons, after one training time at a rate that decays
b  samples and steps, for one width at a constant rate; read a column from below, as a net trains
Points: where the index falls through ½ along n, with 95 % bootstrap bands. Orange: where this boundary ends as training
goes on, from the minimizer of the objective over all widths, with its band over data sets.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from figures.look import limits, style

COLOURS: dict[str, Any] = {"cmap": "RdBu_r", "norm": Normalize(0.2, 0.8), "rasterized": True}
POINT: dict[str, Any] = {"marker": "o", "markersize": 4, "linestyle": "", "color": "white", "markeredgecolor": "black"}
WORDS: dict[str, Any] = {"color": "white", "weight": "bold"}


def draw(data: xr.Dataset) -> Figure:
    """Two maps of the index: over samples and neurons, over samples and steps."""
    if "times_index" not in data:
        raise ValueError("the record `time_map` must have the data, σ and λ of the map beside which it is drawn")
    figure, (left, right) = plt.subplots(1, 2, figsize=(style.PAGE, 3.2))
    steps = f"{data.attrs['times_trained']:,} steps"
    mesh = _map(left, data, "train_index", ("n", "p"), "boundary")
    style.panel_letter(left, "a", f"after {steps}")
    left.set_ylabel(data["p"].attrs["label"])
    left.text(0.97, 0.05, "too narrow to generalize", transform=left.transAxes, ha="right")
    _map(right, data, "times_index", ("times_n", "times_steps"), "times_boundary")
    style.panel_letter(right, "b", f"{data.attrs['times_p']} neurons, as they train")
    right.set_ylabel("steps of training")
    right.text(0.97, 0.05, "hardly trained", transform=right.transAxes, ha="right")
    for axes in (left, right):
        axes.set_xlabel(data["n"].attrs["label"])
        limits.mark(axes, data)
        axes.text(0.08, 0.66, "memorizes", transform=axes.transAxes, ha="center", va="center", rotation=90, **WORDS)
        axes.text(0.97, 0.9, "generalizes", transform=axes.transAxes, ha="right", **WORDS)
    bar = figure.colorbar(mesh, ax=(left, right), aspect=25, pad=0.015)
    bar.set_label("index: 1 memorizes, 0 generalizes")
    measured = Line2D([], [], label="measured boundary: index = ½", **POINT)
    figure.legend(handles=[measured, limits.handle(data)], loc="outside lower center", ncols=2)
    return figure


def _map(axes: Axes, data: xr.Dataset, name: str, over: tuple[str, str], boundary: str) -> Any:
    """The mean index over (x, y) in colour, the boundary along x as points."""
    x, y = over
    mean = data[name].mean("seed" if "seed" in data[name].dims else "times_seed").transpose(y, x)
    mesh = axes.pcolormesh(style.edges(data[x]), style.edges(data[y]), mean, **COLOURS)
    place, low, high = (data[f"{boundary}{end}"].values for end in ("", "_low", "_high"))
    shown = np.isfinite(place)
    spread = np.stack([place - low, high - place])[:, shown]
    axes.errorbar(place[shown], data[y].values[shown], xerr=spread, ecolor="black", elinewidth=1, zorder=4, **POINT)
    axes.set(xscale="log", yscale="log")
    for axis, values in ((axes.xaxis, data[x].values), (axes.yaxis, data[y].values)):
        axis.set_major_locator(FixedLocator((values if len(values) <= 8 else values[::2]).tolist()))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    return mesh
