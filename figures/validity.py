"""Where the block minimizer of Thm 3.1 is a minimizer: maps over separation and noise, and its margin as the predictor.

Maps show one data set; the panels on the right put all cells of all data sets against the worst margin of the formula,
whose own boundary is the margin at which no gate is wrong with a probability above the tolerance of the gradient.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import scipy.stats
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from figures.look import style

SIGMA = r"noise std $\sigma$"
SHADES = ("#00204d", "#5b5c6e", "#a39678", "#d9c45f", "#ffea46")  # a step of cividis for every verdict, worst first
BOUNDARY: dict[str, Any] = {"color": "#D55E00", "linestyle": "-"}
ZERO: dict[str, Any] = {
    "color": "black",
    "linestyle": ":",
    "path_effects": [withStroke(linewidth=3, foreground="white")],
}
FLOOR = 1e-16  # what rounding leaves of zero, on logarithmic axes


def draw(data: xr.Dataset) -> Figure:
    """Four maps of the first data set and two scatter plots of all of them."""
    figure, grid = plt.subplots(2, 3, figsize=(style.PAGE, 4.9), width_ratios=(1, 1, 1.15))
    one = data.isel(draw=0)
    _map(grid[0, 0], one, "gradient", "gradient norm", (1e-14, 1))
    _verdicts(grid[0, 1], one)
    _map(grid[1, 0], one, "block_error", "relative error of the worst block", (1e-14, 1))
    _map(grid[1, 1], one, "asymmetry", r"$\|W_1-W_2\|_F/\|W_1\|_F$", (1e-14, 1))
    for axes in grid[:, :2].flat:
        _boundary(axes, one)
    _against_margin(grid[0, 2], data, {"gradient": "o"}, "gradient norm")
    margins = np.linspace(0, float(data["margin"].max()), 200)
    grid[0, 2].plot(margins, scipy.stats.norm.sf(margins), "--", color="0.2")
    grid[0, 2].axhline(data.attrs["stationary"], color="0.5", linewidth=0.8)
    _against_margin(grid[1, 2], data, {"block_error": "o", "asymmetry": "x"}, "error after polishing")
    titles = (
        "gradient at the formula",
        "certificate at the formula",
        "gradient over margin",
        "block error after polishing",
        "asymmetry after polishing",
        "errors over margin",
    )
    for letter, axes, title in zip("abcdef", grid.flat, titles, strict=True):
        style.panel_letter(axes, letter, title)
    figure.legend(handles=_handles(data), loc="outside lower center", ncols=2)
    figure.suptitle(f"{data.attrs['data']}; maps: one data set", x=0.01, ha="left", fontsize="medium")
    return figure


def _map(axes: Axes, data: xr.Dataset, name: str, label: str, limits: tuple[float, float]) -> None:
    values = data[name].transpose("radius", "sigma").values
    shown = np.where(np.isfinite(values), np.maximum(values, limits[0]), np.nan)
    mesh = axes.pcolormesh(*_cells(data), shown, norm=LogNorm(*limits), rasterized=True)
    axes.figure.colorbar(mesh, ax=axes, label=label, extend="both")
    _ticks(axes, data)


def _verdicts(axes: Axes, data: xr.Dataset) -> None:
    """The verdict at the formula; a cross where polishing from it did not converge."""
    verdicts = data["formula_verdict"].transpose("radius", "sigma")
    count = len(data.attrs["verdicts"])
    norm = BoundaryNorm(np.arange(count + 1) - 0.5, count)
    axes.pcolormesh(*_cells(data), verdicts, cmap=ListedColormap(list(SHADES[:count])), norm=norm, rasterized=True)
    failed = data["converged"].transpose("radius", "sigma").values == 0
    rows, columns = np.nonzero(failed)
    axes.plot(data["sigma"].values[columns], data["radius"].values[rows], "x", color="#D55E00")
    _ticks(axes, data)


def _boundary(axes: Axes, data: xr.Dataset) -> None:
    margin = data["margin"].transpose("radius", "sigma")
    for level, look in ((data.attrs["sure_margin"], BOUNDARY), (0.0, ZERO)):
        if margin.min() < level < margin.max():
            axes.contour(
                data["sigma"],
                data["radius"],
                margin,
                levels=[level],
                colors=[look["color"]],
                linestyles=[look["linestyle"]],
                linewidths=1.6,
            )


def _against_margin(axes: Axes, data: xr.Dataset, names: dict[str, str], label: str) -> None:
    """Quantities of all cells against the worst margin of the formula."""
    for (name, marker), color in zip(names.items(), ("#0072B2", "0.2"), strict=False):
        axes.plot(
            data["margin"].values.ravel(),
            np.maximum(data[name].values.ravel(), FLOOR),
            marker,
            color=color,
            alpha=0.6,
            markeredgewidth=0.8,
            label={"block_error": "block error"}.get(name, name),
        )
    axes.axvline(data.attrs["sure_margin"], **BOUNDARY)
    axes.axvline(0, **ZERO)
    least = float(data["margin"].min())
    axes.set(yscale="log", xlabel="worst margin $m$", ylabel=label)
    axes.set(xlim=(least - 0.5, 2.5 * data.attrs["sure_margin"]), ylim=(FLOOR / 5, 20))
    if len(names) > 1:
        axes.legend(loc="upper right", handletextpad=0)
        _zero(axes, min(float(data[name].min()) for name in names))


def _zero(axes: Axes, least: float) -> None:
    """A tick that says 0 for what is drawn at the floor, and why there is anything."""
    axes.set_yticks([FLOOR, 1e-12, 1e-8, 1e-4, 1], ["0", "$10^{-12}$", "$10^{-8}$", "$10^{-4}$", "$10^{0}$"])
    axes.minorticks_off()
    if least < FLOOR:
        place: dict[str, Any] = {"xytext": (0, 6), "textcoords": "offset points", "ha": "right", "va": "bottom"}
        axes.annotate("formula\nunchanged", (1, FLOOR), xycoords=axes.get_yaxis_transform(), fontsize=7, **place)


def _cells(data: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    return style.edges(data["sigma"]), style.edges(data["radius"])


def _ticks(axes: Axes, data: xr.Dataset) -> None:
    axes.set(xscale="log", yscale="log", xlabel=SIGMA, ylabel=rf"radius of the means (spread {data.attrs['spread']:g})")
    for axis, values in ((axes.xaxis, data["sigma"].values), (axes.yaxis, data["radius"].values)):
        axis.set_major_locator(FixedLocator(list(values if len(values) <= 5 else values[::2])))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _handles(data: xr.Dataset) -> list[Line2D | Patch]:
    sure, tolerance = data.attrs["sure_margin"], data.attrs["stationary"]
    lines = [
        Line2D([], [], label=rf"theory: margin $m={sure:.1f}$, where $\Phi(-m)$ is {tolerance:g}", **BOUNDARY),
        Line2D([], [], label="theory: $m=0$, a gate wrong without noise", **ZERO),
        Line2D([], [], label=r"theory: probability of the worst gate, $\Phi(-m)$", color="0.2", linestyle="--"),
        Line2D([], [], label="tolerance: a smaller gradient counts as zero", color="0.5", linewidth=0.8),
    ]
    present = np.unique(data["formula_verdict"].isel(draw=0)).astype(int)
    return lines + [Patch(color=SHADES[code], label=data.attrs["verdicts"][code]) for code in present]
