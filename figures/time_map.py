"""Nets with few samples memorize from the start; near the boundary they generalize first and come to memorize later.

Every column of a panel is nets with n samples, trained upwards: read it from below. Colours are what is measured after
that many steps (scale on the left; on the right the same in units of η·steps), averaged over the nets. White: τ_gen,
when the test loss is first within 5 % of the lowest of its run, however high that is: every run has such a time. Black:
τ_mem, when the index comes back to ½ after a minimum of .45 or less. Marks are medians over the nets, bands the middle
half of them; a triangle is a median that comes later than the run. Columns without black are those in which the index
of most nets never falls to .45. The window in which to stop reaches from the white line up to the black mark; under a
triangle it is open to the end of the run. Orange: where the boundary ends as training goes on, from the minimizer of
the objective over all widths; right of it the minimizer does not memorize.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from figures.look import limits, style

BANDS: dict[str, dict[str, Any]] = {
    "generalizing": {
        "color": "white",
        "outline": "black",
        "label": r"$\tau_{gen}$: test loss within 5 % of its lowest",
    },
    "memorizing": {"color": "black", "outline": "white", "label": r"$\tau_{mem}$: index back at ½"},
}
PLAIN = FuncFormatter(lambda value, _: f"{value:g}")
LEVELS = (0.1, 0.2, 0.3, 0.5, 1, 2, 3, 5, 10, 20, 30, 50)  # ticks of a test loss
MIDDLE = (0.25, 0.5, 0.75)


def draw(data: xr.Dataset) -> Figure:
    """Index, test loss and memorized rate over (n, steps), with both times."""
    figure, panels = plt.subplots(1, 3, figsize=(style.PAGE, 3.3), sharey=True)
    index, loss = (data[name].transpose("steps", "n", "seed").mean("seed") for name in ("train_index", "test_loss"))
    rate = (data["memorized_rate"] - data["memorized_null"]).transpose("steps", "n", "seed").mean("seed")
    reach = float(max(index.max() - 0.5, 0.5 - index.min()))
    shown: tuple[tuple[xr.DataArray, str, str, Normalize], ...] = (
        (index, "index, 1 = memorizing", "RdBu_r", TwoSlopeNorm(0.5, 0.5 - reach, 0.5 + reach)),
        (loss, "test loss", "viridis_r", LogNorm()),
        (rate, "memorized rate", "magma_r", Normalize(0, max(float(rate.max()), 0.05))),
    )
    for letter, axes, (values, words, colors, norm) in zip("abc", panels, shown, strict=True):
        mesh = axes.pcolormesh(
            style.edges(data["n"]), style.edges(data["steps"]), values, cmap=colors, norm=norm, rasterized=True
        )
        bar = figure.colorbar(mesh, ax=axes, location="top", pad=0.14, aspect=12)
        if isinstance(norm, LogNorm):
            bar.set_ticks([level for level in LEVELS if values.min() <= level <= values.max()])
            bar.ax.xaxis.set_major_formatter(PLAIN)
            bar.ax.minorticks_off()
        _times(axes, data)
        limits.mark(axes, data)
        axes.set(xscale="log", yscale="log", xlabel=data["n"].attrs["label"])
        axes.set_xlim(style.edges(data["n"])[[0, -1]])
        axes.set_ylim(style.edges(data["steps"])[[0, -1]])
        axes.xaxis.set_major_locator(FixedLocator(data["n"].values.tolist()))
        axes.xaxis.set_major_formatter(PLAIN)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.tick_params(axis="x", labelsize="x-small")
        style.panel_letter(axes, letter, words)
    rate_of_time = float(data["time"][0] / data["steps"][0])
    panels[0].set_ylabel("steps of training")
    for place, words, side in ((0.03, "memorize", "left"), (0.97, "generalize", "right")):
        panels[0].text(place, 0.82, words, transform=panels[0].transAxes, ha=side, color="white", fontsize="small")
    panels[0].text(0.97, 0.04, "untrained", transform=panels[0].transAxes, ha="right", fontsize="small")
    _time_axis(panels[-1], rate_of_time)
    handles = [*(_handle(look) for look in BANDS.values()), _later()]
    figure.legend(handles=[*handles, limits.handle(data)], loc="outside lower center", ncols=4, fontsize="small")
    figure.suptitle(
        f"{data.attrs['data']}: {data.sizes['seed']} nets for every n, Adam at the constant rate {rate_of_time:g}",
        x=0.01,
        ha="left",
        fontsize="medium",
    )
    return figure


def _times(axes: Axes, data: xr.Dataset) -> None:
    """Median of each time over the nets, with the middle half of them; a time that comes later counts as later."""
    n, last = data["n"].values, float(data["steps"][-1])
    for name, look in BANDS.items():
        time, later = (data[f"{name}_{what}"].transpose("n", "seed").values for what in ("time", "censored"))
        time = np.where(later.astype(bool), np.inf, time)
        most = np.isfinite(time).sum(1) + np.isinf(time).sum(1) > time.shape[1] / 2
        low, middle, high = np.stack([_quantiles(row) for row in time]).T
        seen = most & np.isfinite(middle)
        outline = [withStroke(linewidth=3, foreground=look["outline"])]
        axes.fill_between(
            n[seen], low[seen], np.minimum(high, 2 * last)[seen], color=look["color"], alpha=0.35, linewidth=0
        )
        axes.plot(n[seen], middle[seen], "o-", color=look["color"], markersize=3, path_effects=outline)
        never = most & np.isinf(middle)
        axes.plot(n[never], np.full(never.sum(), last), "^", color=look["color"], markersize=5, path_effects=outline)


def _quantiles(times: np.ndarray) -> np.ndarray:
    """Quartiles of the times that there are, without interpolating towards one that is only known to be later."""
    known = times[~np.isnan(times)]
    return np.quantile(known, MIDDLE, method="nearest") if known.size else np.full(len(MIDDLE), np.nan)


def _time_axis(axes: Axes, rate: float) -> None:
    """The same heights as time η · steps."""
    functions: Any = (lambda steps: steps * rate, lambda time: time / rate)
    second = axes.secondary_yaxis("right", functions=functions)
    second.set_ylabel(r"time $\eta\,\cdot$ steps")


def _handle(look: dict[str, Any]) -> Line2D:
    outline = [withStroke(linewidth=3, foreground=look["outline"])]
    return Line2D(
        [], [], marker="o", ms=3, linestyle="", color=look["color"], label=look["label"], path_effects=outline
    )


def _later() -> Line2D:
    """Triangles at the upper edge, of either time."""
    return Line2D([], [], color="black", marker="^", markersize=5, linestyle="none", label="later than the run")
