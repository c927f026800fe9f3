"""Where a boundary in n ends after training of any length, as every picture of a map shows it."""

from typing import Any

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

COLOR = "#D55E00"
LOOK: dict[str, Any] = {"color": COLOR, "linestyle": "-", "linewidth": 1.3}
BEYOND: dict[str, Any] = {**LOOK, "linestyle": (0, (3, 1.5))}
OUTLINE = [withStroke(linewidth=3, foreground="white")]  # it must be seen on any colour of a map, and without colour
HEIGHTS = (0.15, 0.5, 0.85)  # of the arrows, in shares of the panel


def words(data: xr.Dataset) -> str:
    """The limit in a legend's words."""
    if "limit" in data.attrs:
        return f"end of training (minimizer): n = {data.attrs['limit']:.3g}"
    if "limit_beyond" in data.attrs:
        return f"end of training (minimizer): right of n = {data.attrs['limit_beyond']:g}"
    return "end of training: not known for these settings"


def mark(axes: Axes, data: xr.Dataset) -> None:
    """A vertical line with its band over data sets; where only a lower end is known, arrows from it; else nothing."""
    if "limit" in data.attrs:
        band = (data.attrs["limit_low"], data.attrs["limit_high"])
        axes.axvspan(*band, color="white", alpha=0.8, lw=0, zorder=1.5)
        axes.axvspan(*band, color=COLOR, alpha=0.35, lw=0, zorder=1.5)
        axes.axvline(data.attrs["limit"], **LOOK)
    elif "limit_beyond" in data.attrs:
        place = data.attrs["limit_beyond"]
        axes.axvline(place, path_effects=OUTLINE, **BEYOND)
        for height in HEIGHTS:
            arrow: dict[str, Any] = {
                "arrowstyle": "-|>",
                "color": COLOR,
                "lw": 1.4,
                "shrinkA": 0,
                "shrinkB": 0,
                "path_effects": OUTLINE,
            }
            # from the line to a point 30 % further right
            transform = axes.get_xaxis_transform()
            ends: dict[str, Any] = {"xytext": (place, height), "xy": (1.3 * place, height)}
            axes.annotate("", **ends, xycoords=transform, textcoords=transform, arrowprops=arrow)


def handle(data: xr.Dataset) -> Line2D:
    """The limit's entry in a legend."""
    nothing: dict[str, Any] = {"linestyle": ""}
    look = LOOK if "limit" in data.attrs else BEYOND if "limit_beyond" in data.attrs else nothing
    return Line2D([], [], label=words(data), **look)
