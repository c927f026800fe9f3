"""One neuron carries most of a duplicated sample, not all as (9) says; in nets on images none carries a tenth of one.

a  what a sample loses when its most active neuron is silenced, as a share of what was stored, one point a net; (9) says
   1 for duplicated samples
b  who says the rest: what a net says along a duplicated sample, split among its most active neuron, others along the
   sample (cosine above .9) and oblique ones. A neuron that contributes s carries s² of the loss
c  loss when a random share of the neurons is kept (and rescaled), before and after merging parallel copies: copies are
   redundant, so the trained net (filled) loses less than the merged one (open); marks of one share stand side by side
d  the same as a in nets for all noise levels on images, layer by layer: share carried by the most active neuron and by
   the 16 most active ones, of images that stood in the set many times and once; 95 % bootstrap over images
"""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures.look import style

LOOKS = {"duplicated": ("o", "#D55E00"), "cluster": ("s", "#0072B2"), "fresh": ("^", "#000000")}
WORDS = {"duplicated": "duplicated", "cluster": "training,\nof a cluster", "fresh": "fresh,\nof a cluster"}
SEEN = {"duplicated": ("#D55E00", -0.12), "once": ("#0072B2", 0.12)}


def draw(data: xr.Dataset) -> Figure:
    """Knock-outs and who says the rest above; losses at kept shares and the nets on images below."""
    figure, grid = plt.subplots(2, 2, figsize=(style.PAGE, 5.6), width_ratios=(1.1, 1))
    _silenced(grid[0, 0], data)
    _said(grid[0, 1], data)
    _kept(grid[1, 0], data)
    _images(grid[1, 1], data)
    figure.suptitle(
        rf"Who carries a sample? {data.sizes['seed']} nets of {data.attrs['width']} neurons on duplicates beside"
        rf" clusters, $\sigma={data.attrs['noise_std']:g}$ (a–c), and nets on images (d)",
        x=0.01,
        ha="left",
        fontsize="medium",
    )
    return figure


def _silenced(axes: Axes, data: xr.Dataset) -> None:
    kinds = [str(kind) for kind in data["kind"].values]
    for place, kind in enumerate(kinds):
        marker, color = LOOKS[kind]
        own = data["own"].sel(kind=kind).values
        axes.plot(place + np.linspace(-0.1, 0.1, own.size), own, marker, color=color)
        axes.annotate(f"{own.mean():.2f}", (place, own.max()), (0, 6), textcoords="offset points", ha="center")
    axes.axhline(1, color="0.35", linestyle="--", linewidth=0.9)
    axes.annotate("one neuron carries all (9)", (len(kinds) - 0.6, 1), (0, 3), textcoords="offset points", ha="right")
    axes.set_xticks(range(len(kinds)), [WORDS[kind] for kind in kinds])
    axes.set(xlim=(-0.6, len(kinds) - 0.4), ylim=(0, 1.15), ylabel="share lost without\nits most active neuron")
    style.panel_letter(axes, "a", "one neuron silenced")


def _said(axes: Axes, data: xr.Dataset) -> None:
    """Stacked bars, one a net; what the most active neuron contributes is √ of its mean square."""
    most = np.sqrt(data["most"].sel(kind="duplicated").values)
    aligned = data["aligned"].sel(kind="duplicated").values
    places = np.arange(most.size)
    parts = [
        (most, "most active neuron", "#D55E00", ""),
        (np.maximum(aligned - most, 0), "others along it", "#E69F00", "//"),
        (1 - np.maximum(aligned, most), "oblique neurons", "#999999", ".."),
    ]
    bottom = np.zeros(most.size)
    for height, words, color, hatch in parts:
        label = f"{words}, {height.mean():.2f}"
        axes.bar(places, height, 0.7, bottom=bottom, label=label, color=color, hatch=hatch, edgecolor="white")
        bottom = bottom + height
    axes.plot(places, most**2, "k_", markersize=14, label="square of the first")
    axes.set_xticks(places, [str(place + 1) for place in places])
    axes.set(xlabel="net", ylabel="share of what is said\nalong a duplicated sample", ylim=(0, 1.55))
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.legend(fontsize="x-small", loc="upper left", ncols=2, columnspacing=0.8)
    style.panel_letter(axes, "b", "who says the rest?")


def _kept(axes: Axes, data: xr.Dataset) -> None:
    entries = []
    for shift, (kind, (marker, color)) in zip((-0.015, 0, 0.015), LOOKS.items(), strict=True):
        for net, face, line in (("trained", color, "-"), ("merged", "white", "--")):
            loss = data["kept"].sel(kind=kind, net=net)
            sem = loss.std("seed", ddof=1) / np.sqrt(loss.sizes["seed"])
            where, mean = data["share"].values + shift, loss.mean("seed").values
            axes.errorbar(where, mean, yerr=sem.values, fmt=marker + line, color=color, markerfacecolor=face)
        entries.append(Line2D([], [], color=color, marker=marker, linestyle="", label=kind))
    entries += [
        Line2D([], [], color="0.3", marker="o", linestyle="-", label="trained"),
        Line2D([], [], color="0.3", marker="o", linestyle="--", markerfacecolor="white", label="merged"),
    ]
    axes.set(yscale="log", xlabel="share of neurons kept", ylabel=r"loss $E\|f-x\|^2$")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.35)
    axes.legend(handles=entries, fontsize="small", ncols=2, loc="upper right")
    style.panel_letter(axes, "c", "a random share kept")


def _images(axes: Axes, data: xr.Dataset) -> None:
    counts = (int(data["count"].values[0]), int(data["count"].values[-1]))
    for seen, (color, shift) in SEEN.items():
        for count, marker, face in ((counts[0], "o", color), (counts[1], "s", "white")):
            share = data["image_carried"].sel(seen=seen, count=count).values
            ends = data["image_carried_ends"].sel(seen=seen, count=count).values
            error = np.abs(np.stack([share - ends[:, 0], ends[:, 1] - share]))
            word = "most active" if count == 1 else f"{count} most active"
            axes.errorbar(
                np.arange(share.size) + shift,
                share,
                yerr=error,
                fmt=marker,
                color=color,
                markerfacecolor=face,
                label=f"{'many' if seen == 'duplicated' else seen}, {word}",
            )
    axes.axhline(1, color="0.35", linestyle="--", linewidth=0.9)
    places = [str(place).replace("transformer, ", "transf.\n") for place in data["place"].values]
    axes.set_xticks(range(len(places)), places)
    axes.set(xlim=(-0.5, len(places) - 0.5), ylim=(min(0, axes.get_ylim()[0]), axes.get_ylim()[1] * 1.4))
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_ylabel("share lost of what\nthe layer holds")
    axes.legend(fontsize="x-small", ncols=2, loc="upper left", columnspacing=0.8)
    style.panel_letter(axes, "d", rf"nets on images, $\sigma={data.attrs['image_noise_std']:g}$")
