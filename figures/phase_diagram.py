"""The whole map after one training time: where nets memorize and where they generalize.

Left to right, top to bottom: the index D_gt/(D_gt + D_emp) at noisy training points; the memorized rate of denoised
fresh points; which of the two analytic Jacobians the net's own is nearer to; the test loss. With very many samples
f_emp itself approaches f_gt, and the index returns to ½.

White points: measured boundary with its bootstrap band; it moves right with training time (figure phase_times). Orange:
where it would end, from the minimizer over all widths on data of the same settings; dashed with arrows where only a
lower end is known. The other lines are conditions under which the stored solution (9) is exact, no predictions of the
boundary: p = n, left of it every sample can have a neuron of its own; n = d + 1, no more samples can have pairwise
negative cosines; one foreign neuron fires, left of it a noisy sample opens less than one other sample's gate on
average; nλ = ‖x‖², left of it the decay erases no sample of mean norm.
"""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from figures.look import limits as ends
from figures.look import style

PANELS = (
    (
        "train_index",
        r"index $D_{gt}/(D_{gt}+D_{emp})$, training points",
        "> 0.5 memorizing, < 0.5 generalizing",
        (0.2, 0.8),
    ),
    ("memorized_rate", "memorized: denoised fresh points", r"share with $d_1/d_2 < 1/3$", (0, 1)),
    ("match", "analytic solution that the Jacobian matches", "1 = spiky (9), 0 = balanced (Cor. 3.3)", (0, 1)),
    ("test_loss", "test loss", r"$\|f(x+\sigma\epsilon)-x\|^2$ on fresh $x$", None),
)


def draw(data: xr.Dataset) -> Figure:
    """Four maps over (x, y); with a third axis, the index alone, one panel a value."""
    z = data.attrs["z"]
    if z:
        count = data.sizes[z]
        columns = min(count, 4)
        rows = -(-count // columns)
        shape = (style.PAGE, 1.9 * rows + 0.6)
        figure, grid = plt.subplots(rows, columns, figsize=shape, squeeze=False, sharex=True, sharey=True)
        for axes, value in zip(grid.flat, data[z].values, strict=False):
            part = data.sel({z: value}).sel({f"fine_{z}": value}, method="nearest")
            _map(axes, part, *PANELS[0][:1], PANELS[0][2], PANELS[0][3], bar=axes is grid[0, -1])
            axes.set_title(f"{data[z].attrs['label'].split(' $')[0]} = {value:g}", loc="left")
            _lines_and_boundary(axes, part)
        for axes in list(grid.flat)[count:]:
            axes.set_visible(False)
    else:
        figure, grid = plt.subplots(2, 2, figsize=(style.PAGE, 5.6), sharex=True, sharey=True)
        for letter, axes, (name, title, label, limits) in zip("abcd", grid.flat, PANELS, strict=True):
            _map(axes, data, name, label, limits, bar=True)
            style.panel_letter(axes, letter, title)
            _lines_and_boundary(axes, data)
    for axes in grid[:, 0]:
        axes.set_ylabel(data[data.attrs["y"]].attrs["label"])
    for axes in grid[-1, :]:
        axes.set_xlabel(data[data.attrs["x"]].attrs["label"])
    figure.legend(handles=_handles(data), loc="outside lower center", ncols=3)
    figure.suptitle(f"{data.attrs['data']}: mean over {data.sizes['seed']} seeds", x=0.01, ha="left")
    return figure


def _map(axes: Axes, data: xr.Dataset, name: str, label: str, limits: tuple[float, float] | None, *, bar: bool) -> None:
    x, y = data.attrs["x"], data.attrs["y"]
    mean = data[name].mean("seed").transpose(y, x).values
    norm = Normalize(*limits) if limits else LogNorm(np.nanmin(mean), np.nanmax(mean))
    mesh = axes.pcolormesh(style.edges(data[x]), style.edges(data[y]), mean, norm=norm, rasterized=True)
    axes.set(xscale="log", yscale="log")
    for axis, values in ((axes.xaxis, data[x].values), (axes.yaxis, data[y].values)):
        axis.set_major_locator(FixedLocator(values if len(values) <= 8 else values[::2]))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if bar:
        axes.figure.colorbar(mesh, ax=axes, label=label)


def _lines_and_boundary(axes: Axes, data: xr.Dataset) -> None:
    """Conditions and the limit as lines, the measured boundary as points with their band."""
    x, y = data.attrs["x"], data.attrs["y"]
    for name, look in style.LINE_LOOKS.items():
        condition = data[f"condition_{name}"].transpose(f"fine_{y}", f"fine_{x}")
        if condition.min() < 0 < condition.max():
            axes.contour(
                condition[f"fine_{x}"],
                condition[f"fine_{y}"],
                condition,
                levels=[0],
                colors=[look["color"]],
                linestyles=[look["linestyle"]],
                linewidths=1.4,
            )
    ends.mark(axes, data)
    for value in data[y].values:
        found = data.sel({y: value})
        place, low, high = (float(found[f"boundary{end}"]) for end in ("", "_low", "_high"))
        if np.isfinite(place):
            spread = [[place - low], [high - place]]
            axes.errorbar(place, value, xerr=spread, fmt="o", color="white", mec="black", ecolor="white")


def _handles(data: xr.Dataset) -> list[Line2D]:
    handles = []
    for name, look in style.LINE_LOOKS.items():
        condition = data[f"condition_{name}"]
        if condition.min() < 0 < condition.max():
            shown = {**look, "color": "0.6"} if look["color"] == "white" else look
            handles.append(Line2D([], [], label=f"condition of (9): {condition.attrs['label']}", **shown))
    measured = Line2D(
        [], [], marker="o", linestyle="", color="white", mec="black", label=f"measured: index = {data.attrs['level']:g}"
    )
    return [measured, *([ends.handle(data)] if data.attrs["x"] == "n" else []), *handles]
