"""Few samples stay in the columns with any optimizer, as long as the noise is below the margin.

One cell a noise level and optimizer: the columns matched to the samples, largest cosine and norm errors over seeds, how
many merged neurons are alive, and what polishing makes of the net on the exact objective. λ of AdamW, whose decay is
decoupled, is read off its norms.
"""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from dae_theory import compare
from figures.look import pictures, style

NAMES = {"adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop", "sgd": "SGD"}
SHORT = {
    "global minimum": "global min.",
    "local minimum; a new": "local, neuron grows",
    "local minimum": "local min.",
}


def draw(data: xr.Dataset) -> Figure:
    """σ down, optimizers across."""
    sigmas, optimizers = data["sigma"].values, data["optimizer"].values
    figure, grid = plt.subplots(
        len(sigmas), len(optimizers), figsize=(style.PAGE, 0.6 + 0.85 * len(sigmas)), squeeze=False, layout="none"
    )
    # room by hand: the text below the pictures belongs to no layout engine
    figure.subplots_adjust(left=0.1, right=0.975, top=0.8, bottom=0.08, wspace=0.06, hspace=0.55)
    rows = compare.kept(data)
    for row, sigma in zip(grid, sigmas, strict=True):
        for axes, optimizer in zip(row, optimizers, strict=True):
            words = f"σ = {sigma:g}, {NAMES[str(optimizer)]}: "
            at = data.sel(sigma=sigma, optimizer=optimizer)
            columns = list(pictures.square(at["picture"], int(data.attrs["side"])))
            pictures.strip(axes, columns, places=len(columns))
            for number, line in enumerate(_lines(at, [one for one in rows if one.claim.startswith(words)])):
                axes.annotate(
                    line,
                    (0, 1),
                    xytext=(0, -2 - 7 * number),
                    textcoords="offset points",
                    va="top",
                    fontsize=5,
                    annotation_clip=False,
                    fontweight="bold" if number == 0 else "normal",
                )
        margin = float(data["margin"].sel(sigma=sigma))
        row[0].set_ylabel(
            rf"$\sigma={sigma:g}$" + f"\nmargin\n{margin:.1f}" + r"$\,\sigma$", rotation=0, ha="right", va="center"
        )
    for axes, optimizer in zip(grid[0], optimizers, strict=True):
        axes.set_title(NAMES[str(optimizer)], loc="left")
    given = data.attrs
    figure.suptitle(
        rf"{given['few']} {given['name']}, centred, cosines $\leq{given['largest_cosine']:+.2f}$, $p={given['width']}$,"
        rf" $\lambda={given['weight_decay']:.3g}$: columns against $r_ix_i$ of (9)",
        x=0.01,
        ha="left",
        fontsize=8,
    )
    return figure


def _lines(at: xr.Dataset, rows: list[compare.Row]) -> list[str]:
    """What stands under a cell, given its two rows."""
    cosine, norm = rows
    holds = all(row.verdict == "agrees" for row in rows)
    off = float(f"{100 * norm.measured:.2g}")
    lines = [
        f"{'holds' if holds else 'fails'}: cos ≥ {cosine.measured:.3f}, norms ± {off:g} %",
        f"{float(at['neurons'].mean()):.1f} neurons, norms say λ = {float(at['read_off'].mean()):.2g}",
    ]
    code = at["verdict"].values[0]
    if np.isfinite(code):
        verdict = str(at.attrs["verdicts"][int(code)])
        short = next((word for start, word in SHORT.items() if verdict.startswith(start)), verdict)
        moved = float(at["moved"].max())
        lines.append(f"polished: {short}" + (f", moved {moved:.1g}" if np.isfinite(moved) else ""))
    return lines
