"""The whole map: where nets memorize and where they generalize, under theory's own conditions.

Left to right, top to bottom: the index D_gt/(D_gt + D_emp) at noisy training points; the memorized rate of denoised
fresh points; which of the two analytic Jacobians the net's own is nearer to; the test loss. With very many samples
f_emp itself approaches f_gt, and the index returns to ½.
"""

import jax
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from dae_theory import boundary
from figures._summary import Relation, Row, interval, mean
from figures.look import style

INDEX = "train_index"
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
    data = with_match(data)
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


def with_match(data: xr.Dataset) -> xr.Dataset:
    """The record and which analytic Jacobian a net's own is nearer to: 1 = spiky (9), 0 = balanced (Cor. 3.3)."""
    spiky, balanced = data["error_against_spiky"], data["error_against_balanced"]
    return data.assign(match=balanced / (spiky + balanced))


def summary(data: xr.Dataset) -> list[Row]:
    """Both ends of the map, then the boundary of every row beside where theory's conditions end."""
    x, y = data.attrs["x"], data.attrs["y"]
    data = with_match(data)
    rows = []
    if (x, y) == ("n", "p") and not data.attrs["z"]:
        rows += _ends(data)
    for value in data[y].values if not data.attrs["z"] else ():
        curves = data[INDEX].sel({y: value}).transpose("seed", x).values
        found = boundary.locate(jax.random.key(0), data[x].values, curves, data.attrs["level"], below=data.attrs["low"])
        if np.isfinite(found.location):
            claim = f"boundary in {x} at {y} = {value:g}: index = {data.attrs['level']:g}"
            rows.append(interval(claim, _conditions(data, value), found.location, found.low, found.high))
    return rows


def _ends(data: xr.Dataset) -> list[Row]:
    """Widest nets: with the fewest samples they memorize, and somewhere to the right of that they generalize."""
    wide = data.isel(p=-1)
    few, many = wide.isel(n=0), wide.isel(n=int(wide[INDEX].mean("seed").argmin("n")))
    sides: tuple[tuple[xr.Dataset, str, Relation], ...] = ((few, "memorizing", "≥"), (many, "generalizing", "≤"))
    rows = []
    for at, words, relation in sides:
        place = f"n = {int(at['n'])}, p = {int(at['p'])}"
        index, match = (at[name].values for name in (INDEX, "match"))
        rows += [
            mean(f"index at noisy training points, {place}: {words}", "(3), (4)  D_gt/(D_gt + D_emp)", index, 0.5,
                 relation=relation),
            mean(f"Jacobian nearer to the {'spiky' if relation == '≥' else 'balanced'} solution, {place}",
                 "(9), Cor. 3.3  D_bal/(D_spk + D_bal)", match, 0.5, relation=relation),
        ]  # fmt: skip
    rate, null = (few[name] for name in ("memorized_rate", "memorized_null"))
    rows.append(mean(f"memorized rate of denoised fresh points over its null, n = {int(few['n'])}", "d₁/d₂ < 1/3",
                     rate - null, 0.0, relation="≥"))  # fmt: skip
    rate, null = (many[name] for name in ("memorized_rate", "memorized_null"))
    rows.append(mean(f"the same, n = {int(many['n'])}", "d₁/d₂ < 1/3", rate - null, 0.0, scale=1.0))
    return rows


def _conditions(data: xr.Dataset, value: float) -> str:
    """Where theory's conditions end along x, in one row of the map."""
    x, y = data.attrs["x"], data.attrs["y"]
    places = []
    for name in style.LINE_LOOKS:
        curve = data[f"condition_{name}"].sel({f"fine_{y}": value}, method="nearest")
        place = boundary.crossing(curve[f"fine_{x}"].values, curve.values, 0.0)
        if np.isfinite(place):
            places.append(f"{curve.attrs['label']}: {place:.3g}")
    return "theory's conditions end at  " + ", ".join(places) if places else "no condition ends here"


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
    """Theory as lines, the measured boundary as points with their band."""
    x, y = data.attrs["x"], data.attrs["y"]
    for name, look in style.LINE_LOOKS.items():
        condition = data[f"condition_{name}"].transpose(f"fine_{y}", f"fine_{x}")
        if condition.min() < 0 < condition.max():
            axes.contour(
                condition[f"fine_{x}"], condition[f"fine_{y}"], condition, levels=[0],
                colors=[look["color"]], linestyles=[look["linestyle"]], linewidths=1.4,
            )  # fmt: skip
    for value in data[y].values:
        curves = data[INDEX].sel({y: value}).transpose("seed", x).values
        found = boundary.locate(jax.random.key(0), data[x].values, curves, data.attrs["level"], below=data.attrs["low"])
        if np.isfinite(found.location):
            spread = [[found.location - found.low], [found.high - found.location]]
            axes.errorbar(found.location, value, xerr=spread, fmt="o", color="white", mec="black", ecolor="white")


def _handles(data: xr.Dataset) -> list[Line2D]:
    handles = []
    for name, look in style.LINE_LOOKS.items():
        condition = data[f"condition_{name}"]
        if condition.min() < 0 < condition.max():
            shown = {**look, "color": "0.6"} if look["color"] == "white" else look
            handles.append(Line2D([], [], label=f"theory: {condition.attrs['label']}", **shown))
    measured = Line2D(
        [], [], marker="o", linestyle="", color="white", mec="black", label=f"measured: index = {data.attrs['level']:g}"
    )
    return [measured, *handles]
