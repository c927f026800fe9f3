"""Nets on few images denoise only these; nets on many denoise held-out ones as well, near the best there is.

Left: one training image of each net and one held-out image, and what every denoiser makes of it. Right: PSNR with its
peak stated, nets as points (mean ± SEM over seeds), f_emp, f_gt and doing nothing as lines.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.look import pictures, style

NETS = (("net, few", "o", "#D55E00", -0.12), ("net, many", "s", "#0072B2", 0.12))
REFERENCES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("f_emp, few", "$f_{emp}$ of the few", {"color": "#D55E00", "linestyle": "--"}),
    ("f_emp, many", "$f_{emp}$ of the many", {"color": "#0072B2", "linestyle": (0, (5, 1, 1, 1))}),
    ("f_gt", "$f_{gt}$, fitted Gaussians", {"color": "#009E73", "linestyle": "-"}),
    ("noisy", "noisy image itself", {"color": "0.5", "linestyle": ":"}),
)
WORDS = {"clean": "clean", "noisy": "noisy", "net, few": "net\nfew", "net, many": "net\nmany"}
SHOWN = ("clean", "noisy", "net, few", "net, many", "f_emp, few", "f_emp, many", "f_gt")


def draw(data: xr.Dataset) -> Figure:
    """Examples beside the PSNR."""
    figure = plt.figure(figsize=(style.PAGE, 2.9))
    halves: Any = figure.subfigures(1, 2, width_ratios=(1.15, 1))
    _examples(halves[0], data)
    _ratios(halves[1].subplots(), data)
    return figure


def _examples(part: Any, data: xr.Dataset) -> None:
    rows = part.subplots(data.sizes["images"], 1)
    side = int(data.attrs["side"])
    for axes, images in zip(rows, data["images"].values, strict=True):
        at = data.sel(images=images)
        shown = [pictures.square(at["picture"].sel(shown=name), side) / 100 for name in SHOWN]
        texts = [""] + [
            f"{float(at['psnr'].sel(denoiser=name).mean()):.1f} dB" if name in data["denoiser"] else ""
            for name in SHOWN[1:]
        ]
        pictures.strip(
            axes,
            shown,
            places=len(SHOWN),
            below=texts,
            label=images if images == "held out" else f"one of\n{images}",
            limits=(-1, 1),
        )
    for number, name in enumerate(SHOWN):
        label = WORDS.get(name, name.replace("f_emp, ", "$f_{emp}$\n").replace("f_gt", "$f_{gt}$"))
        rows[0].annotate(
            label,
            (number * (1 + pictures.GAP) + 0.5, 0),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=6.5,
            annotation_clip=False,
        )


def _ratios(axes: Axes, data: xr.Dataset) -> None:
    place = np.arange(data.sizes["images"])
    for name, label, look in REFERENCES:
        values = data["psnr"].sel(denoiser=name).mean("seed").values
        for number, value in zip(place, values, strict=True):
            axes.plot(
                [number - 0.35, number + 0.35],
                [value, value],
                linewidth=1.2,
                label=label if number == 0 else None,
                **look,
            )
    for name, marker, color, shift in NETS:
        values = data["psnr"].sel(denoiser=name)
        sem = values.std("seed", ddof=1) / np.sqrt(values.sizes["seed"])
        count = data.attrs["few" if "few" in name else "many"]
        axes.errorbar(place + shift, values.mean("seed"), yerr=sem, fmt=marker, color=color, label=f"net, $n={count}$")
    top = float(data["psnr"].sel(denoiser=[name for name, *_ in NETS]).max()) + 4
    for number, kind in enumerate(data["images"].values):
        beyond = [name for name, *_ in REFERENCES if float(data["psnr"].sel(denoiser=name, images=kind).mean()) > top]
        if beyond:
            lowest = min(float(data["psnr"].sel(denoiser=name, images=kind).mean()) for name in beyond)
            axes.annotate(
                f"$f_{{emp}}$: {lowest:.0f} dB ↑", (number, top), ha="center", va="top", fontsize="x-small", color="0.3"
            )
    low = axes.get_ylim()[0]
    axes.set(ylim=(low, top + 0.5 * (top - low)), ylabel=f"PSNR (dB, peak {data.attrs['peak']:g} on [−1, 1])")
    axes.set_xticks(place, data["images"].values)
    axes.set_xlabel("images denoised once")
    axes.legend(ncols=2, loc="upper center", fontsize="x-small")
    words = rf"{data.attrs['name']}, $\sigma={data.attrs['noise_std']:g}$, $p={data.attrs['width']}$"
    axes.set_title(words, loc="left")
