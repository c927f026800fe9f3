"""Which images does a net give away? The most and the least suspicious ones, denoised, and the scores that tell.

Top, where images were given: contact sheet, ranked by one score (larger: more suspicious); bold orange: labelled
memorized. Bottom: AUROC of the scores with intervals that hold for all rows together, controls grey; where there is
a baseline, what a score gains on it, which is what counts. Intervals that contain the dashed line tell nothing.
"""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.lines import Line2D

from figures.look import sheet, style

ROWS = 14
DEMONSTRATION = "a demonstration: no trained net, but one computed to store duplicated samples of a mixture"
SCORE, CONTROL = "#0072B2", "0.45"
CONTROLS = ("pixel_std", "input_norm", "denoising_loss")
WORDS = {
    "l4_over_l2": r"$\|h\|_4/\|h\|_2$",
    "kurtosis": "excess kurtosis of $h$",
    "participation_ratio": "− participation ratio of $h$",
    "max_share": "largest share of $h^2$",
    "gini": "Gini index of $h$",
    "std": "std of $h$",
    "combined": "all scores combined",
    "pixel_std": "std of the input",
    "input_norm": "norm of the input",
    "denoising_loss": "− denoising loss",
}


def draw(data: xr.Dataset) -> Figure:
    """Contact sheet where there are pictures, table where labels are known."""
    parts = [name for name in ("picture", "line") if name in data.variables or name in data.dims]
    heights = {"picture": _sheet_height(data), "line": 0.8 + 0.17 * min(ROWS, data.sizes.get("line", 0))}
    figure = plt.figure(figsize=(style.PAGE, 0.4 + sum(heights[part] for part in parts)))
    grid = figure.add_gridspec(len(parts), 1, height_ratios=[heights[part] for part in parts])
    for row, part in enumerate(parts):
        if part == "picture":
            _both_ends(figure, grid[row], data)
        else:
            _table(figure.add_subplot(grid[row]), data)
    if data.attrs.get("config", {}).get("activations") == "demo":
        figure.suptitle(DEMONSTRATION, x=0.01, ha="left", fontsize="medium")
    return figure


def _sheet_height(data: xr.Dataset) -> float:
    if "picture" not in data:
        return 0.0
    high = data.sizes["down"] / data.sizes["across"]
    return 2 * (0.55 + data.sizes["version"] * high * 0.72)


def _both_ends(figure: Figure, place: SubplotSpec, data: xr.Dataset) -> None:
    count = data.sizes["shown"]
    half = -(-count // 2)
    inner = place.subgridspec(2, 1)
    ranked = str(data.attrs["ranked_by"]).replace("_", " ")
    sheet.draw(figure.add_subplot(inner[0]), data, slice(0, half), f"most suspicious, by {ranked}")
    sheet.draw(figure.add_subplot(inner[1]), data, slice(half, count), "least suspicious")


def _table(axes: Axes, data: xr.Dataset) -> None:
    gains = "difference" in data
    estimate = data["difference" if gains else "auroc"].values
    kind = "difference_simultaneous" if gains else "auroc_simultaneous"
    low, high = (data[f"{kind}_{end}"].values for end in ("low", "high"))
    chance = 0.0 if gains else 0.5
    names, words = [str(name) for name in data["line"].values], _words(data)
    controls = [index for index, name in enumerate(names) if name.startswith(CONTROLS)]
    order = [index for index in np.argsort(-np.nan_to_num(estimate, nan=-1)) if index not in controls]
    chosen = [*order[: max(1, ROWS - len(controls))], *controls]
    for row, index in enumerate(chosen):
        apart = low[index] > chance or high[index] < chance
        color = CONTROL if index in controls else SCORE
        axes.plot([low[index], high[index]], [row, row], color=color)
        axes.plot(estimate[index], row, "s" if index in controls else "o", color=color, mfc=color if apart else "white")
    axes.axvline(chance, color="0.35", linestyle="--", linewidth=0.9)
    axes.set_yticks(range(len(chosen)), [words[index] for index in chosen])
    of = "AUROC, memorized against other samples"
    axes.set(
        ylim=(len(chosen) - 0.4, -0.6), xlabel=f"{of}, minus the baseline's" if gains else f"{of} (dashed: chance)"
    )
    rest = len(order) - (len(chosen) - len(controls))
    more = f" ({rest} lower ones left out)" if rest else ""
    axes.set_title(f"how well a score tells that a sample is memorized{more}", loc="left")
    axes.figure.legend(handles=_handles(), loc="outside lower center", ncols=3)


def _words(data: xr.Dataset) -> list[str]:
    """Every line in words; its layer where there are several."""
    parts = [str(name).rpartition("/") for name in data["line"].values]
    several = len({layer for layer, _, _ in parts if layer}) > 1
    words = []
    for layer, _, rest in parts:
        score, _, level = rest.partition(" ")
        words.append(" ".join(filter(None, (f"{layer}:" if layer and several else "", WORDS.get(score, rest), level))))
    return words


def _handles() -> list[Line2D]:
    return [
        Line2D([], [], color=SCORE, marker="o", label="score of the representation $h$"),
        Line2D([], [], color=CONTROL, marker="s", label="control: input or loss alone"),
        Line2D([], [], color=SCORE, marker="o", mfc="white", label="open: may be chance (all rows counted)"),
    ]
