"""Rows of small pictures, one axes a row: columns of weights, images, denoised images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

GAP = 0.08  # between pictures, in widths of one


def square(rows: Any, side: int) -> np.ndarray:
    """Vectors (m, d) as pictures (m, side, side); entries behind side² are padding."""
    rows = np.asarray(rows, float)
    return rows[..., : side**2].reshape(*rows.shape[:-1], side, side)


def strip(
    axes: Axes,
    pictures: Sequence[np.ndarray],
    *,
    places: int,
    below: Sequence[str] = (),
    label: str = "",
    below_label: str = "",
    limits: tuple[float, float] | None = None,
    size: float = 5.5,
) -> None:
    """Pictures from left to right in a row, each on its own scale unless limits are given.

    Args:
        axes: made bare.
        pictures: (s, s) each.
        places: how many the row has room for.
        below: text under each picture.
        label: at the left of the row.
        below_label: what the text below is, at the left of it.
        limits: (black, white); None takes ± the largest entry of each picture.
        size: of the text below.
    """
    axes.set(xlim=(-GAP, places * (1 + GAP)), ylim=(1.02, -0.02), aspect="equal", xticks=[], yticks=[], anchor="NW")
    axes.spines[:].set_visible(False)

    def write(text: str, x: float, side: str) -> None:
        axes.annotate(
            text,
            (x, 1),
            xytext=(0, -1),
            textcoords="offset points",
            ha=side,
            va="top",
            fontsize=size,
            annotation_clip=False,
            linespacing=0.95,
        )

    for number, picture in enumerate(pictures):
        left = number * (1 + GAP)
        largest = np.abs(picture).max() or 1.0
        low, high = (-largest, largest) if limits is None else limits
        axes.imshow(picture, extent=(left, left + 1, 1, 0), cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        if number < len(below):
            write(below[number], left + 0.5, "center")
    if below_label:
        write(below_label, -2 * GAP, "right")
    axes.set(xlim=(-GAP, places * (1 + GAP)), ylim=(1.02, -0.02))
    axes.set_ylabel(label, rotation=0, ha="right", va="center")
