"""One neuron carries most of a duplicated sample, not all as (9) says; samples of clusters share their neurons.

Left: what a sample loses when its most active neuron is silenced, as a share of what was stored, one point a net; (9)
says 1 for duplicated samples. In one net (1500 steps) the rest was neither noise (σ = 0 gives the same) nor unmerged
copies (cosine .99 and .9 give the same); in the sample looked at, oblique neurons (cosine about .6) carried it.

Right: loss when only a random share of the neurons is kept (and rescaled), before and
after merging parallel copies: copies are redundant, so the trained net (filled) loses less than the merged (open).
"""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from figures.look import style

LOOKS = {"duplicated": ("o", "#D55E00"), "cluster": ("s", "#0072B2"), "fresh": ("^", "#000000")}
WORDS = {"duplicated": "duplicated", "cluster": "training,\nof a cluster", "fresh": "fresh,\nof a cluster"}


def draw(data: xr.Dataset) -> Figure:
    """Knock-outs of single neurons, and losses at kept shares."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(style.PAGE, 2.9))
    kinds = [str(kind) for kind in data["kind"].values]
    for place, kind in enumerate(kinds):
        marker, color = LOOKS[kind]
        own = data["own"].sel(kind=kind).values
        left.plot(place + np.linspace(-0.1, 0.1, own.size), own, marker, color=color, label=f"mean {own.mean():.2f}")
        left.annotate(f"{own.mean():.2f}", (place, own.max()), (0, 6), textcoords="offset points", ha="center")
        for net, face, line in (("trained", color, "-"), ("merged", "white", "--")):
            loss = data["kept"].sel(kind=kind, net=net)
            sem = loss.std("seed", ddof=1) / np.sqrt(loss.sizes["seed"])
            words = f"{kind}, {net}"
            look = {"color": color, "fmt": marker + line, "markerfacecolor": face}
            right.errorbar(data["share"], loss.mean("seed"), yerr=sem, label=words, **look)
    left.axhline(1, color="0.35", linestyle="--", linewidth=0.9)
    left.annotate("one neuron carries all (9)", (len(kinds) - 0.6, 1), (0, 3), textcoords="offset points", ha="right")
    left.set_xticks(range(len(kinds)), [WORDS[kind] for kind in kinds])
    left.set(xlim=(-0.6, len(kinds) - 0.4), ylim=(0, 1.15), ylabel="share lost without\nits most active neuron")
    style.panel_letter(left, "a", "one neuron silenced")
    right.set(yscale="log", xlabel="share of neurons kept", ylabel=r"loss $E\|f-x\|^2$")
    right.legend(fontsize="small")
    style.panel_letter(right, "b", "a random share kept")
    figure.suptitle(
        rf"Who carries a sample? {data.sizes['seed']} nets of {data.attrs['width']} neurons on duplicates beside"
        rf" clusters, $\sigma={data.attrs['noise_std']:g}$",
        x=0.01,
        ha="left",
        fontsize="medium",
    )
    return figure
