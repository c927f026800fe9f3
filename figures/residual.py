"""The residual of Thm 3.1 is exponentially small in the squared margin over the noise, until gates fail.

Points are certified minimizers of the exact objective. Left: the law is a straight line in γ²/σ². Middle: the same
points over the fitted law, and where they leave it. Right: the gradient that the analytic weights leave.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from figures.look import style

SIGMA = r"noise std $\sigma$ (units of the data)"
LAW: dict[str, Any] = {"color": "#D55E00", "linestyle": "-"}
THEORY: dict[str, Any] = {"color": "0.2", "linestyle": "--"}
POINTS: dict[str, Any] = {"fmt": "o", "color": "#0072B2", "linestyle": "", "zorder": 3}


def draw(data: xr.Dataset) -> Figure:
    """Three panels: the law, its end, and the gradient at the analytic weights."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(style.PAGE, 2.9))
    square = {f"{axis}_square": (data.attrs["margin"] / data[axis]) ** 2 for axis in ("sigma", "fine_sigma")}
    data = data.assign(square)
    _law(left, data)
    _break(middle, data)
    _gradient(right, data)
    titles = "the law", "where it breaks", "gradient at the formula (9)"
    for letter, axes, title in zip("abc", (left, middle, right), titles, strict=True):
        style.panel_letter(axes, letter, title)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    given = data.attrs
    figure.suptitle(
        rf"simplex of $n=p={given['samples']}$ samples of norm {given['radius']:g}, $d={given['dimension']}$,"
        rf" $\lambda={given['weight_decay']:g}$; margin $\gamma=R/(n-1)={given['margin']:g}$",
        x=0.01,
        ha="left",
    )
    return figure


def _law(axes: Axes, data: xr.Dataset) -> None:
    measured = data.where(data["resolved"], drop=True)
    estimate, low, high = data["law"].sel(coefficient="c").values
    label = rf"fit $\|R\|^2=C\,e^{{-c\gamma^2/\sigma^2}}$: $c={estimate:.2f}$, 95 % interval [{low:.2f}, {high:.2f}]"
    within = data.where(data["used"], drop=True)
    axes.plot(
        data["fine_sigma_square"],
        data["fine_sigma_theory_residual"],
        label="theory: first order in the gate errors, nothing fitted",
        **THEORY,
    )
    axes.plot(data["fine_sigma_square"], data["fine_sigma_fitted"], **{**LAW, "linestyle": ":"}, label="the fit beyond")
    axes.plot(within["sigma_square"], within["fitted"], label=label, **LAW)
    _points(axes, measured, "sigma_square", measured["residual"], label="certified minimizers (filled: in the fit)")
    axes.set(
        yscale="log",
        xlabel=r"squared margin over noise $\gamma^2/\sigma^2$",
        ylabel=r"squared residual $\|R\|^2$ (one matrix)",
        xlim=(0, 1.05 * float(measured["sigma_square"].max())),
        ylim=(0.1 * float(measured["residual"].min()), 30 * float(measured["residual"].max())),
    )


def _break(axes: Axes, data: xr.Dataset) -> None:
    measured = data.where(data["resolved"], drop=True)
    ratio = measured["residual"] / measured["fitted"]
    off, place, turn = (data.attrs[name] for name in ("off", "breaks_at", "changes_sign_at"))
    axes.axhspan(1 / off, off, color="0.9", zorder=0)
    axes.axhline(1, **LAW)
    axes.plot(data["fine_sigma"], data["fine_sigma_theory_residual"] / data["fine_sigma_fitted"], **THEORY)
    _points(axes, measured, "sigma", ratio)
    axes.set(yscale="log", xlabel=SIGMA, ylabel=r"$\|R\|^2$ over the fitted law")
    axes.set_ylim(0.3 * float(ratio.min()), 5 * float(ratio.max()))
    _log_sigma(axes, data["sigma"].values)
    note: dict[str, Any] = {
        "xycoords": ("data", "axes fraction"),
        "textcoords": "offset points",
        "ha": "right",
        "fontsize": "small",
    }
    if np.isfinite(place):
        axes.axvline(place, color="0.5", linewidth=0.8)
        text = f"off by a factor {off:g}\nfrom $\\sigma={place:g}$ on"
        axes.annotate(text, (place, 0.85), xytext=(-3, 0), **note)
    if np.isfinite(turn):
        axes.annotate(f"$R$ changes sign\nat $\\sigma={turn:.2f}$", (turn, 0.03), xytext=(-14, 0), **note)


def _gradient(axes: Axes, data: xr.Dataset) -> None:
    axes.plot(data["fine_sigma"], data["fine_sigma_theory_gradient"], **THEORY)
    axes.plot(data["sigma"], data["analytic_gradient"], "o", color=POINTS["color"])
    lowest = float(data["analytic_gradient"].min())
    axes.set(yscale="log", xlabel=SIGMA, ylabel="gradient norm at the formula", ylim=(0.2 * lowest, None))
    _log_sigma(axes, data["sigma"].values)


def _points(axes: Axes, data: xr.Dataset, x: str, values: xr.DataArray, label: str | None = None) -> None:
    """Filled where the point is in the fit; the bar is the error that the gradient left allows."""
    reach = 2 * values * data["residual_error"]
    used = data["used"].values.astype(bool)
    for chosen, face, text in ((used, "#0072B2", label), (~used, "white", None)):
        axes.errorbar(data[x][chosen], values[chosen], yerr=reach[chosen], mfc=face, label=text, **POINTS)


def _log_sigma(axes: Axes, sigma: np.ndarray) -> None:
    axes.set_xscale("log")
    axes.set_xticks([value for value in (0.1, 0.2, 0.3, 0.5, 0.8, 1.2) if sigma.min() <= value <= sigma.max()])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
