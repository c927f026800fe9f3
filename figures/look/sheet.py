"""A contact sheet: the most and the least suspicious images, noised, denoised, with their scores."""

from pathlib import PurePosixPath
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

MARK = "#D55E00"
_WORDS = {"image": "image", "noised": "noised", "denoised": "denoised"}
_GAP = 0.08


def draw(axes: Axes, data: xr.Dataset, rows: slice, title: str) -> None:
    """One block of the sheet: an image a column, its versions below one another.

    Args:
        axes: made bare.
        data: with `picture` (shown, version, channel, down, across), `picture_name`, `picture_score`, `picture_rank`,
            `picture_of`, and `memorized`, −1 where unknown.
        rows: which of the shown.
        title: of the block.
    """
    part = data.isel(shown=rows)
    versions = [str(version) for version in part["version"].values]
    count, high = part.sizes["shown"], part.sizes["down"] / part.sizes["across"]
    labels = data["memorized"].values[part["picture_of"].values]
    step = high * (1 + _GAP)
    for column in range(count):
        left = column * (1 + _GAP)
        for row in range(len(versions)):
            picture = part["picture"].values[column, row]
            shown: Any = picture[0] if len(picture) == 1 else np.moveaxis(picture, 0, -1)
            extent = (left, left + 1, row * step + high, row * step)
            axes.imshow(shown, extent=extent, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        _caption(
            axes, part.isel(shown=column), left + 0.5, (len(versions) - 1) * step + high, bool(labels[column] == 1)
        )
    bottom = (len(versions) - 1) * step + high
    axes.set(xlim=(-_GAP, count * (1 + _GAP)), ylim=(bottom, -_GAP), aspect="equal", xticks=[], anchor="NW")
    axes.annotate("rank", (-_GAP, bottom), (-2, -2), textcoords="offset points", ha="right", va="top", fontsize=5)
    axes.set_yticks([row * step + high / 2 for row in range(len(versions))], [_WORDS[name] for name in versions])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title, loc="left")


def _caption(axes: Axes, at: xr.Dataset, x: float, y: float, memorized: bool) -> None:
    name = PurePosixPath(str(at["picture_name"].item())).name.replace(" times", "×")
    name = name.replace(" ", "\n")  # "seen once" is wider than its picture
    short = name if len(name) <= 14 else f"{name[:6]}…{name[-7:]}"
    axes.annotate(
        f"{int(at['picture_rank'])}\n{float(at['picture_score']):.3g}\n{short}",
        (x, y),
        xytext=(0, -2),
        textcoords="offset points",
        ha="center",
        va="top",
        fontsize=5,
        color=MARK if memorized else "black",
        weight="bold" if memorized else "normal",
        annotation_clip=False,
    )
