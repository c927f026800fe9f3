"""Representations give memorized samples away, prompt-free: how well each score does, in which layer, at which noise.

One row a kind of net. Left: AUROC of every score and trivial control on the reporting split, layer and noise level
chosen on the other. Middle: AUROC of the best score over layers and noise levels. Right: its values.
"""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from figures.look import style

CASES = {
    "relu": "two-layer nets, one noise level,\nhybrid mixture",
    "conditional": "ReLU net for all noise levels,\nimages",
    "deep": "diffusion transformer,\nimages",
}
WORDS = {
    "std": "std (the paper's)",
    "l4_over_l2": r"$\|h\|_4/\|h\|_2$",
    "kurtosis": "kurtosis",
    "participation_ratio": "− participation ratio",
    "gini": "Gini",
    "max_share": "max share",
    "combined": "all six combined",
    "pixel_std": "pixel std",
    "input_norm": "input norm",
    "denoising_loss": "− loss at the sample",
}
SCORE, CONTROL, OTHERS = "#0072B2", "#D55E00", "0.65"


def draw(data: xr.Dataset) -> Figure:
    """Three kinds of nets, three panels each."""
    figure, grid = plt.subplots(
        len(CASES), 3, figsize=(style.PAGE, 7.6), width_ratios=(1.25, 1.35, 0.8), height_ratios=(1, 1, 1.25)
    )
    for row, (name, words) in enumerate(CASES.items()):
        areas, heat, values = grid[row]
        _areas(areas, data, name)
        _heat(heat, data, name)
        _values(values, data, name)
        fact = {key.removeprefix(f"{name}_"): value for key, value in data.attrs.items() if key.startswith(f"{name}_")}
        counted = f"{fact['confirmed']} of {fact['duplicated']} duplicates reproduced"
        style.panel_letter(areas, "abc"[row], f"{words}\n{counted}")
    looks = [
        Line2D([], [], marker="o", linestyle="", color=SCORE, label="score of the representation"),
        Line2D([], [], marker="s", linestyle="", color=CONTROL, label="trivial control"),
        Patch(color=OTHERS, label="other samples"),
        Patch(fill=False, edgecolor="black", label="memorized samples"),
        Patch(fill=False, edgecolor=CONTROL, linewidth=1.6, label="chosen on the other split"),
    ]
    figure.legend(handles=looks, loc="outside lower center", ncols=5, fontsize="small")
    return figure


def _areas(axes: Axes, data: xr.Dataset, name: str) -> None:
    rows = [row for row in WORDS if row in data[f"{name}_row"].values]
    for height, row in enumerate(rows):
        at = data.sel({f"{name}_row": row})
        control = row in ("pixel_std", "input_norm", "denoising_loss")
        area = float(at[f"{name}_auroc"])
        ends = [float(at[f"{name}_auroc_delong_{end}"]) for end in ("low", "high")]
        error = [[max(area - ends[0], 0)], [max(ends[1] - area, 0)]]
        axes.errorbar(
            area, height, xerr=error, fmt="s" if control else "o", color=CONTROL if control else SCORE, markersize=4
        )
    axes.axvline(0.5, color="0.6", linestyle=":", linewidth=0.9)
    axes.set_yticks(range(len(rows)), [WORDS[row] for row in rows])
    axes.invert_yaxis()
    axes.set(xlabel="AUROC, 95 % DeLong", xlim=(-0.03, 1.03))


def _heat(axes: Axes, data: xr.Dataset, name: str) -> None:
    best = str(data.attrs[f"{name}_best"])
    fitted, reported = (data[f"{name}_{part}"].sel(score=best) for part in ("fit_map", "map"))
    layers = [str(layer) for layer in data[f"{name}_layer"].values]
    whole = list(dict.fromkeys(layer.split(" ")[0] for layer in layers))
    levels = data[f"{name}_level"].values
    shown = np.full((len(whole), len(levels)), np.nan)
    for row, layer in enumerate(whole):
        among = [index for index, full in enumerate(layers) if full.split(" ")[0] == layer]
        chosen = np.nan_to_num(fitted.values[among], nan=-1).argmax(axis=0)  # the pooling, on the fitting split
        shown[row] = reported.values[among][chosen, np.arange(len(levels))]
    axes.imshow(shown, vmin=0, vmax=1, cmap="cividis", aspect="auto")
    for (row, column), value in np.ndenumerate(shown):
        if np.isfinite(value):
            tone = "black" if value > 0.55 else "white"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=5.5, color=tone)
    axes.set_xticks(range(len(levels)), [f"{level:g}" for level in levels])
    axes.set_yticks(range(len(whole)), [layer.replace("block", "block ").replace(".", ", ") for layer in whole])
    axes.set(xlabel=r"noise level $\sigma$")
    chosen = data.sel({f"{name}_row": best})
    layer = str(chosen[f"{name}_chosen_layer"].values).split(" ")[0]
    at = (int(np.argmin(np.abs(levels - float(chosen[f"{name}_chosen_level"])))), whole.index(layer))
    axes.add_patch(Rectangle((at[0] - 0.5, at[1] - 0.5), 1, 1, fill=False, edgecolor="#D55E00", linewidth=1.6))
    axes.set_title(f"AUROC of {WORDS[best]}", loc="left")


def _values(axes: Axes, data: xr.Dataset, name: str) -> None:
    best = str(data.attrs[f"{name}_best"])
    scores, memorized = data[f"{name}_best_scores"].values, data[f"{name}_memorized"].values == 1
    edges = np.linspace(scores.min(), scores.max(), 24)
    axes.hist(scores[~memorized], edges, density=True, color=OTHERS, histtype="stepfilled")
    axes.hist(scores[memorized], edges, density=True, color="black", histtype="step", linewidth=1.2)
    axes.set(xlabel=WORDS[best], ylabel="density", yticks=[])
