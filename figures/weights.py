"""Columns are the samples where these are few and separable, and span the principal directions where they are many.

Few images: learned columns, merged and matched, over the analytic r_i x_i of (9); centred (cosines below 0) they agree,
as they are (cosines above 0) they do not, and the net keeps extra columns. Many images, one cluster with open gates:
principal angles between the leading directions of W and those of the block solution, and σ_j(W)² on the gains (8).
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dae_theory import compare
from figures.look import pictures, style

LOOKS = (("o", "#0072B2", "-"), ("s", "#D55E00", "--"), ("^", "#009E73", "-."), ("D", "#CC79A7", ":"))
PLACES = 8
SIZE = 6.5  # of the numbers below pictures


def draw(data: xr.Dataset) -> Figure:
    """Pictures of a set in a column of their own; measurements below."""
    figure = plt.figure(figsize=(style.PAGE, 6.6))
    rows = compare.kept(data)
    halves: Any = figure.subfigures(2, 1, height_ratios=(1.65, 1))
    top, bottom = halves
    widths = [1.11] + [1.0] * (data.sizes["set"] - 1)  # the first has the rows' names beside it
    parts = top.subfigures(1, data.sizes["set"], squeeze=False, width_ratios=widths)
    for number, name in enumerate(data["set"].values):
        _columns(parts[0, number], data.sel(set=name), str(name), rows, first=number == 0)
    axes = bottom.subplots(1, 3)
    _match(axes[0], data, rows)
    _angles(axes[1], data)
    _gains(axes[2], data)
    bottom.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _columns(part: Any, at: xr.Dataset, name: str, rows: list[compare.Row], *, first: bool) -> None:
    """Six strips: learned over analytic for few centred images, few as they are, and many."""
    axes = part.subplots(6, 1)  # of one height, so that pictures stand below each other
    few, decay = at.attrs["few"], float(at["few_decay"].isel(centred=0, decay=0))
    for row, centred in ((0, True), (2, False)):
        cell = at.sel(centred=centred)
        seed = cell.isel(decay=0, seed=0)
        live = min(int(seed["neurons"]), cell.sizes["column"])
        texts = [f"{float(c):.3f}\n{float(r):.3f}" for c, r in zip(seed["cosine"], seed["norm_ratio"], strict=True)]
        texts += [f"{float(c):.2f}\nextra" for c in cell["column_cosine"].values[few:live]]
        learned = pictures.square(cell["learned_picture"], int(cell["few_side"]))[:live]
        analytic = pictures.square(cell["analytic_picture"], int(cell["few_side"]))
        pictures.strip(
            axes[row],
            list(learned),
            places=PLACES,
            below=texts,
            label="learned" if first else "",
            below_label="cosine\nnorm" if first else "",
            size=SIZE,
        )
        pictures.strip(axes[row + 1], list(analytic), places=PLACES, label="$r_ix_i$ (9)" if first else "")
        words = "centred" if centred else "as they are"
        judged = [one for one in rows if one.claim.startswith(f"few {name}, {words}, λ = {decay:.3g}: ")]
        stored = {one.verdict for one in judged} == {"agrees"}
        claim = "columns are the samples" if stored else "not the samples"
        axes[row].set_title(
            rf"{name}, {words}, $n={few}$, $\lambda={decay:.3g}$,"
            rf" cosines $\leq{float(cell['largest_cosine']):+.2f}$:"
            f"\n{claim}",
            loc="left",
            fontsize=7,
        )
    cell = at.sel(centred=False)
    learned = pictures.square(cell["many_picture"], int(cell["many_side"]))
    analytic = pictures.square(cell["eigen_picture"], int(cell["many_side"]))
    captured = [f"{float(value):.4f}" for value in cell["captured"].isel(seed=0).values[: len(analytic)]]
    pictures.strip(axes[4], list(learned), places=PLACES, label="learned" if first else "")
    pictures.strip(
        axes[5],
        list(analytic),
        places=PLACES,
        below=captured,
        label="$u_j$ (8)" if first else "",
        below_label="in span $W$" if first else "",
        size=SIZE,
    )
    axes[4].set_title(
        rf"{name}, as they are, $n={int(cell['samples'])}$, $\lambda={float(cell['weight_decay']):.3g}$:"
        "\ncolumns span the principal directions",
        loc="left",
        fontsize=7,
    )


def _match(axes: Axes, data: xr.Dataset, rows: list[compare.Row]) -> None:
    """Every matched column: how far from the sample's direction, how far from the predicted norm."""
    cosine, norm = (row.predicted for row in rows[:2])
    assert cosine is not None
    assert norm is not None
    axes.axhspan(-100 * norm, 100 * norm, color="0.9", linewidth=0, zorder=0)
    axes.axhline(0, color="0.35", linewidth=0.9)
    axes.axvline(1 - cosine, color="0.35", linewidth=0.9, linestyle=":")
    looks = iter(LOOKS)
    for name in data["set"].values:
        for centred in data["centred"].values:
            marker, color, _ = next(looks)
            at = data.sel(set=name, centred=centred)
            axes.plot(
                np.maximum(1 - at["cosine"].values.ravel(), 1e-7),
                100 * (at["norm_ratio"].values.ravel() - 1),
                marker,
                color=color,
                label=f"{name}, {'centred' if centred else 'as they are'}",
                alpha=0.8,
            )
    axes.set_xscale("log")
    axes.set(
        xlabel="direction error $1-\\cos(w_j, x_i)$",
        ylabel=r"norm error $\|w_j\|/(r_i\|x_i\|)-1$ (%)",
    )
    style.panel_letter(axes, "a", "few: every matched column")


def _angles(axes: Axes, data: xr.Dataset) -> None:
    looks = iter(LOOKS)
    for name in data["set"].values:
        for centred in data["centred"].values:
            marker, color, line = next(looks)
            at = data.sel(set=name, centred=centred)
            angle = at["angle"].isel(direction=slice(0, int(at["resolved"])))
            share = np.arange(1, angle.sizes["direction"] + 1) / angle.sizes["direction"]
            axes.plot(
                share,
                angle.mean("seed"),
                marker,
                color=color,
                linestyle=line,
                markersize=2.5,
                linewidth=0.7,
                label=f"median {float(angle.median()):.1f}°",
            )
            if angle.sizes["seed"] > 1:
                axes.fill_between(share, angle.min("seed"), angle.max("seed"), color=color, alpha=0.2, linewidth=0)
    axes.set_yscale("log")
    axes.set(
        xlabel="rank among the angles",
        ylabel=r"principal angle $\theta_j$ (degrees)",
        ylim=(None, 300),
    )
    axes.legend(loc="upper left")
    style.panel_letter(axes, "b", r"many: $W$ against the block solution")


def _gains(axes: Axes, data: xr.Dataset) -> None:
    axes.plot([0, 1], [0, 1], color="0.35", linewidth=0.9, label="theory (8)")
    looks = iter(LOOKS)
    for name in data["set"].values:
        for centred in data["centred"].values:
            marker, color, _ = next(looks)
            at = data.sel(set=name, centred=centred)
            gain = at["gain"]
            error = gain.std("seed", ddof=1) / np.sqrt(gain.sizes["seed"]) if gain.sizes["seed"] > 1 else None
            axes.errorbar(
                at["gain_theory"],
                gain.mean("seed"),
                yerr=error,
                fmt=marker,
                color=color,
                markersize=2.5,
            )
    axes.set(
        xlabel=r"predicted gain $(\Lambda_j-n\lambda)/(\Lambda_j+n\sigma^2)$",
        ylabel=r"learned $\sigma_j(W)^2$",
    )
    axes.legend(loc="upper left")
    style.panel_letter(axes, "c", "many: gains of the directions")
