"""Are zero columns stable? A newcomer beside a memorized sample grows below λ*, in the exact risk and in trained nets.

Growth of an orthogonal pair against λ, with λ* marked; thresholds against R/σ; then nets with p > n started at the
memorizing weights: size of their extra columns, and the share of nets where these grew, against λ/λ*.
"""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binomtest

from figures.look import style

LOOKS = (("o", "-", "#0072B2"), ("s", "--", "#D55E00"), ("^", "-.", "#000000"))
THEORY = {"color": "0.35", "linewidth": 1.0}


def draw(data: xr.Dataset) -> Figure:
    """Exact growth and thresholds above, trained nets below."""
    figure, grid = plt.subplots(2, 2, figsize=(style.PAGE, 5.2))
    _growth(grid[0, 0], data)
    _thresholds(grid[0, 1], data)
    _sizes(grid[1, 0], data)
    _shares(grid[1, 1], data)
    return figure


def _growth(axes: Axes, data: xr.Dataset) -> None:
    square = data.attrs["noise_std"] ** 2
    reliable = data["ratio"].values[data["ratio"].values >= data.attrs["open"]]
    picked = np.unique(reliable[np.linspace(0, len(reliable) - 1, min(len(reliable), len(LOOKS))).astype(int)])
    axes.axhline(0, color="0.6", linewidth=0.7)
    stars = []
    for (marker, line, color), ratio in zip(LOOKS, picked, strict=False):
        at = data.sel(ratio=ratio)
        decay = at["decay_fine"] / square
        axes.plot(decay, at["growth_theory"] / square, linestyle=line, color=color)
        axes.plot(decay[::2], at["growth"][::2] / square, marker, color=color, label=rf"$R/\sigma={ratio:g}$")
        star = float(at["orthogonal_theory"]) / square
        stars.append((float(at["orthogonal_theory"]) / square, color))
    bottom = axes.get_ylim()[0]
    for star, color in stars:
        axes.plot([star, star], [bottom, 0], linestyle=":", color=color, linewidth=0.8)
        axes.annotate(r"$\lambda^*$", (star, bottom), xytext=(2, 2), textcoords="offset points", color=color)
    axes.set_ylim(bottom, None)
    axes.set(xlabel=r"weight decay $\lambda/\sigma^2$", ylabel=r"growth $(\langle g(u),v\rangle-\lambda)/\sigma^2$")
    axes.legend(title="points exact risk, lines theory", alignment="left")
    style.panel_letter(axes, "a", "growth of a neuron orthogonal to the sample")


def _thresholds(axes: Axes, data: xr.Dataset) -> None:
    ratio, star = data["ratio"], data["orthogonal_theory"]
    axes.axhspan(0.99, 1.01, color="0.9", zorder=0, linewidth=0)
    axes.axhline(1, linestyle="-", **THEORY, label=r"theory: $\lambda^*=\kappa\sigma^2/(1-\kappa)$")
    axes.plot(ratio, data["all_theory"] / star, linestyle="--", **THEORY, label="theory: steepest of all directions")
    axes.plot(ratio, data["orthogonal"] / star, "o", color="#0072B2", label="exact risk, orthogonal")
    axes.plot(ratio, data["all"] / star, "s", color="#D55E00", label="exact risk, steepest")
    if ratio.min() < data.attrs["open"]:
        axes.axvline(data.attrs["open"], color="0.6", linestyle=":", linewidth=0.9)
        axes.annotate(
            "gate open →",
            (data.attrs["open"], axes.get_ylim()[0]),
            xytext=(3, 3),
            textcoords="offset points",
            color="0.35",
            fontsize="small",
        )
    axes.set_xscale("log")
    axes.set_xticks(ratio.values, [f"{value:g}" for value in ratio.values])
    axes.minorticks_off()
    axes.set(xlabel=r"sample norm over noise $R/\sigma$", ylabel=r"threshold $\lambda/\lambda^*$")
    axes.legend()
    style.panel_letter(axes, "b", r"where growth changes sign (grey: $\pm$1 %)")


def _sizes(axes: Axes, data: xr.Dataset) -> None:
    size = data["size"].transpose("decay", "seed")
    mean, sem = size.mean("seed"), size.std("seed", ddof=1) / np.sqrt(size.sizes["seed"])
    axes.errorbar(
        data["decay"], mean, yerr=sem, fmt="o", color="#0072B2", label=f"nets, mean ± SEM over {size.sizes['seed']}"
    )
    axes.axhline(data.attrs["start"], linestyle=":", color="0.5", label="size at the start")
    _mark(axes, data)
    axes.set_yscale("log")
    axes.set(
        xlabel=r"weight decay $\lambda/\lambda^*$",
        ylabel="size of extra columns\n" + r"$\Sigma_j\|w_{1j}\|\|w_{2j}\|$ over that of (9)",
    )
    axes.legend(loc="upper right")
    kept = data["cosine"].where(data["decay"] > data.attrs["net_threshold"]).median()
    if kept > 0.99:
        axes.annotate(
            "what is left is parallel\nto the sample: copies of\nthe neuron of (9)",
            (0.97, 0.25),
            xycoords="axes fraction",
            ha="right",
            va="center",
            fontsize="small",
            color="0.35",
        )
    width = 1 + data.attrs["extra"]
    style.panel_letter(axes, "c", rf"nets, $p={width}$, $n=1$, $R/\sigma={data.attrs['net_ratio']:g}$")


def _shares(axes: Axes, data: xr.Dataset) -> None:
    grew = data["grew"].transpose("decay", "seed").values
    for decay, row in zip(data["decay"].values, grew, strict=True):
        share = row.mean()
        band = binomtest(int(row.sum()), len(row)).proportion_ci(0.95, method="wilson")
        error = [[max(share - band.low, 0)], [max(band.high - share, 0)]]
        axes.errorbar(decay, share, yerr=error, fmt="o", color="#0072B2")
    axes.errorbar([], [], yerr=[], fmt="o", color="#0072B2", label="nets, 95 % interval")
    _mark(axes, data, label=r"theory: $\lambda^*$")
    axes.set(xlabel=r"weight decay $\lambda/\lambda^*$", ylabel="share of nets", ylim=(-0.05, 1.05))
    axes.legend(loc="center right")
    style.panel_letter(axes, "d", "nets whose extra columns grew")


def _mark(axes: Axes, data: xr.Dataset, label: str | None = None) -> None:
    """λ*, and the threshold over all directions as the edge of a narrow band beside it."""
    axes.axvline(1, label=label, **THEORY)
    axes.axvspan(1, data.attrs["net_threshold"], color="0.8", linewidth=0)
