"""Memorizing denoisers reproduce their samples up to length, generalizing ones make new points; both are counted.

a, b  memorized rate (d₁/d₂ < 1/3) for few and many training samples, of points and of directions, beside the null
c     d₁/d₂ of what f_gt makes: uniform in volume, F(u) = u^r
d     length along the nearest sample: as random as the start, since f(cy) = c f(y)
e     neurons that answer on the way from noise to data
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binomtest

from figures.look import style

LOOKS = {
    "f_emp": ("s", "#000000", r"$f_{\rm emp}$ (3)"),
    "nets": ("o", "#D55E00", "trained nets"),
    "conditional": ("v", "#CC79A7", "conditional net"),
    "analytic": ("^", "#E69F00", "analytic weights"),
    "f_gt": ("D", "#0072B2", r"$f_{\rm gt}$"),
}
THEORY = {"color": "0.35", "linewidth": 1.0}
FLOOR = 1e-4  # of the logarithmic axis; a rate of 0 is drawn there


def draw(data: xr.Dataset) -> Figure:
    """Rates above, what explains them below."""
    figure, grid = plt.subplot_mosaic("aaabbb;ccddee", figsize=(style.PAGE, 5.2), height_ratios=(1.15, 1))
    few, many = data.attrs["few"], data.attrs["many"]
    _rates(grid["a"], data.sel(training="few"))
    style.panel_letter(grid["a"], "a", f"few: $n={few}$ samples, one a cluster")
    grid["a"].set(ylim=(0, 1.05), ylabel=r"memorized rate, $d_1/d_2<1/3$")
    _rates(grid["b"], data.sel(training="many"))
    grid["b"].set_yscale("log")
    grid["b"].set(ylim=(FLOOR / 1.6, 1.7), ylabel="memorized rate, logarithmic")
    style.panel_letter(grid["b"], "b", f"many: $n={many}$")
    _legend(figure, grid["a"])
    _ratios(grid["c"], data)
    _lengths(grid["d"], data)
    _participation(grid["e"], data)
    return figure


def _rates(axes: Axes, data: xr.Dataset) -> None:
    """A group a rank: its sources side by side, of points filled, of directions open, over the band of the null."""
    ranks, chains = data["rank"].values, data.attrs["chains"]
    offsets = np.linspace(-0.34, 0.34, len(LOOKS))
    for place, rank in enumerate(ranks):
        at = data.sel(rank=rank)
        null = _interval(at["null"], chains)
        axes.fill_between([place - 0.42, place + 0.42], max(null[1], FLOOR), null[2], color="0.82", linewidth=0)
        axes.plot([place - 0.42, place + 0.42], [max(null[0], FLOOR)] * 2, color="0.55", linewidth=0.8)
        axes.plot([place - 0.42, place + 0.42], [3.0**-rank] * 2, linestyle=":", **THEORY)
        for offset, (source, (marker, color, _)) in zip(offsets, LOOKS.items(), strict=True):
            for shift, name, fill in ((-0.03, "rate", color), (0.03, "direction_rate", "white")):
                share, low, high = _interval(at[name].sel(source=source), chains)
                drawn = max(share, FLOOR)
                axes.errorbar(
                    place + offset + shift,
                    drawn,
                    yerr=[[max(drawn - max(low, FLOOR), 0)], [max(high - drawn, 0)]],
                    fmt=marker,
                    color=color,
                    markerfacecolor=fill,
                    elinewidth=0.9,
                )
    axes.set_xticks(range(len(ranks)), [rf"$r={rank}$" for rank in ranks])
    axes.set_xlim(-0.5, len(ranks) - 0.5)
    axes.set_xlabel("intrinsic dimension of the data")


def _interval(rates: xr.DataArray, chains: int) -> tuple[float, float, float]:
    """Share over the chains of all seeds with Wilson's 95 % interval."""
    total = chains * rates.size
    fired = round(float(rates.mean()) * total)
    band = binomtest(fired, total).proportion_ci(0.95, method="wilson")
    return fired / total, band.low, band.high


def _legend(figure: Figure, axes: Axes) -> None:
    entries: list[Any] = [
        axes.errorbar([], [], yerr=[], fmt=marker, color=color, label=label) for marker, color, label in LOOKS.values()
    ]
    entries.append(axes.plot([], [], "o", color="0.3", markerfacecolor="white", label="open: of directions")[0])
    entries.append(axes.plot([], [], color="0.7", linewidth=4, label="null: held-out data")[0])
    entries.append(axes.plot([], [], linestyle=":", label=r"$3^{-r}$", **THEORY)[0])
    figure.legend(handles=entries, loc="outside upper center", ncols=4, columnspacing=1.5, handletextpad=0.4)


def _ratios(axes: Axes, data: xr.Dataset) -> None:
    many = data.sel(training="many").mean("seed")
    share, fine = data["share"].values, np.linspace(0, 1, 200)
    for marker, rank in zip("oDv", data["rank"].values, strict=False):
        axes.plot(fine, fine ** float(rank), **THEORY)
        axes.plot(
            share, many["ratio_below"].sel(rank=rank, source="f_gt"), marker, color="#0072B2", label=f"$r={rank}$"
        )
    axes.plot([], [], label=r"theory: $u^r$", **THEORY)
    axes.axvline(1 / 3, ymax=0.4, color="0.7", linewidth=0.8, linestyle="--")
    axes.set(xlabel=r"$u$", ylabel=r"share with $d_1/d_2<u$", ylim=(-0.02, 1.02))
    axes.legend(title=r"made by $f_{\rm gt}$", loc="upper left", alignment="left")
    style.panel_letter(axes, "c", f"new points, $n={data.attrs['many']}$")


def _lengths(axes: Axes, data: xr.Dataset) -> None:
    few = data["length_density"].sel(training="few").mean(["rank", "seed"])
    length = data["length"].values
    for source in ("nets", "conditional", "analytic"):
        marker, color, label = LOOKS[source]
        axes.plot(length, few.sel(source=source), marker, color=color, label=label)
    predicted = data["length_predicted"].sel(training="few").mean(["rank", "seed"])
    axes.plot(length, predicted, label="(9), one open gate", **THEORY)
    axes.axvline(1, color="black", linestyle="--", linewidth=0.9)
    axes.annotate(
        r"$f_{\rm emp}$: all here",
        (1, 0.97),
        xycoords=("data", "axes fraction"),
        xytext=(4, 0),
        textcoords="offset points",
        va="top",
        fontsize="small",
    )
    axes.set(xlabel=r"length $\langle x,x_i\rangle/\|x_i\|^2$", ylabel="density", xlim=(0, 3), ylim=(0, None))
    axes.legend(loc="upper right", bbox_to_anchor=(1.04, 0.93), handlelength=1.0)
    style.panel_letter(axes, "d", f"lengths, $n={data.attrs['few']}$")


def _participation(axes: Axes, data: xr.Dataset) -> None:
    at = data["participation"].sel(rank=data["rank"].values[len(data["rank"]) // 2]).mean("seed")
    sigma = data["sigma"].values
    for training, color, line in (("many", "#0072B2", "-"), ("few", "#D55E00", "--")):
        low, middle, high = at.sel(training=training).transpose("quartile", "sigma").values
        axes.fill_between(sigma, low, high, color=color, alpha=0.2, linewidth=0)
        axes.plot(sigma, middle, linestyle=line, color=color, label=rf"$n={data.attrs[training]}$")
    axes.axhline(1, **THEORY)
    axes.annotate(
        "one neuron answers",
        (sigma.max(), 1),
        xytext=(0, -2),
        textcoords="offset points",
        va="top",
        color="0.35",
        fontsize="small",
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.invert_xaxis()
    axes.set_ylim(0.7, 40)
    axes.set(xlabel=r"noise $\sigma$, chains run $\rightarrow$", ylabel=r"participation $(\Sigma h^2)^2/\Sigma h^4$")
    axes.legend(title="merged nets, quartiles", loc="upper right", ncols=2)
    style.panel_letter(axes, "e", rf"answering neurons, $r={int(at['rank'])}$")
