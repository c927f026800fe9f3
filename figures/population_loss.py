"""Generalization error of Cor. 3.3: trained nets approach the loss [X4], not the printed bound, as n_k grows.

Test loss against the samples a component, with both formulas as lines; and its excess over [X4], which falls like
1/n_k.
"""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.look import style

LOOKS = {
    "trained": {"fmt": "o", "color": "#0072B2", "zorder": 3},
    "blocks": {"fmt": "s", "color": "#D55E00", "mfc": "white"},
}


def draw(data: xr.Dataset) -> Figure:
    """Both panels over n_k, in logarithms."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(style.PAGE, 2.9))
    seeds = data.sizes["seed"]
    labels = {
        "trained": f"trained nets, mean ± SEM over {seeds}",
        "blocks": "blocks (7), (8) on the same samples",
    }
    for name, look in LOOKS.items():
        left.errorbar(data["per_component"], *_mean(data[name]), label=labels[name], **look)
        right.errorbar(data["per_component"], *_mean(data[name] - data["population"]), **look)
    population, printed = float(data["population"]), float(data["printed"])
    for value, line, text, place in (
        (population, "-", rf"theory [X4], bias and noise: {population:.3f}", (3, -9)),
        (printed, "--", f"as printed, bias alone: {printed:.3f}", (3, 3)),
    ):
        left.axhline(value, color="black", linestyle=line)
        left.annotate(
            text, (data["per_component"].values[0], value), xytext=place, textcoords="offset points", fontsize="small"
        )
    left.set(ylabel=r"test loss $E\|f(x+\sigma\epsilon)-x\|^2$", ylim=(printed / 1.6, None))
    left.legend(loc="upper right")
    style.panel_letter(left, "a", "test loss, exact under the mixture")

    blocks = (data["blocks"] - data["population"]).mean("seed").values
    size = data["per_component"].values
    right.plot(size, blocks[-1] * size[-1] / size, color="black", linestyle=":", label=r"$\propto 1/n_k$")
    right.legend(loc="upper right")
    right.set(ylabel="test loss − [X4]")
    style.panel_letter(right, "b", "excess over [X4]")
    for axes in (left, right):
        _count_axis(axes, size)
    figure.suptitle(
        f"K = {data.attrs['components']} components of {data.attrs['rank']} directions, radius/spread = "
        f"{data.attrs['separation']:g}, d = {data.attrs['dimension']}, p = {data.attrs['width']}, "
        rf"$\sigma$ = {data.attrs['noise_std']:g}, $\lambda$ = {data.attrs['weight_decay']:g}",
        x=0.01,
        ha="left",
        fontsize="medium",
    )
    return figure


def _mean(values: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds and its standard error."""
    return values.mean("seed").values, (values.std("seed", ddof=1) / np.sqrt(values.sizes["seed"])).values


def _count_axis(axes: Axes, sizes: np.ndarray) -> None:
    axes.set(xscale="log", yscale="log", xlabel=r"samples a component $n_k$")
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.minorticks_off()
