"""Images by their scores, the most suspicious first: a file that a spreadsheet opens, and a few pictures."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from dae_theory import detection
from dae_theory.checks import Refusal

EACH = 8
"""Pictures of either end of the order."""
SIDE = 64
"""Pixels of a picture's longer side, at most."""


def order(columns: Sequence[detection.Column], rank_by: str) -> np.ndarray:
    """Samples from the most to the least suspicious by one column; undefined scores come last.

    Raises:
        ValueError: there is no column of that name; those there are, are listed.
    """
    for column in columns:
        if column.name == rank_by:
            return np.argsort(-np.where(np.isnan(column.scores), -np.inf, column.scores), kind="stable")
    raise Refusal(f"--rank-by must be one of {[column.name for column in columns]}; got {rank_by!r}")


def write(
    file: Path,
    columns: Sequence[detection.Column],
    names: Sequence[str],
    memorized: np.ndarray | None,
    rank_by: str,
) -> None:
    """One line an image: rank, name, label where there is one, then every score, larger for memorized.

    Raises:
        ValueError: as `order`.
    """
    by_rank = order(columns, rank_by)
    with file.open("w", newline="", encoding="utf-8-sig") as opened:  # spreadsheets take UTF-8 by its mark
        rows = csv.writer(opened)
        labelled = [] if memorized is None else ["memorized"]
        rows.writerow(["rank", "image", *labelled, *(column.name for column in columns)])
        for rank, index in enumerate(by_rank, start=1):
            label = [] if memorized is None else [int(memorized[index])]
            rows.writerow([rank, names[index], *label, *(f"{column.scores[index]:.6g}" for column in columns)])


def ends(by_rank: np.ndarray) -> np.ndarray:
    """The samples to be shown: the most suspicious, then the least, most suspicious of either first."""
    return by_rank if len(by_rank) <= 2 * EACH else np.concatenate([by_rank[:EACH], by_rank[-EACH:]])


def pictures(
    columns: Sequence[detection.Column],
    names: Sequence[str],
    pixels: np.ndarray,
    rank_by: str,
    answers: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None,
) -> xr.Dataset:
    """The most and the least suspicious images, noised, denoised: small pictures of 256 greys for a record.

    Args:
        columns, rank_by: as `order`.
        names: of the images.
        pixels: (n, channels, height, width) in [−1, 1], one channel or three.
        answers: from places of images to their noised and denoised versions; None where there are none to be had.

    Raises:
        ValueError: as `order`.
    """
    by_rank = order(columns, rank_by)
    shown = ends(by_rank)
    rank = np.empty(len(by_rank), dtype=int)
    rank[by_rank] = np.arange(1, len(by_rank) + 1)
    kinds = {"image": pixels[shown]}
    if answers is not None:
        kinds |= dict(zip(("noised", "denoised"), answers(shown), strict=True))
    scores = next(column.scores for column in columns if column.name == rank_by)
    values = np.stack([_small(part) for part in kinds.values()], axis=1)
    return xr.Dataset(
        {
            "picture": (("shown", "version", "channel", "down", "across"), values),
            "picture_of": ("shown", shown),
            "picture_name": ("shown", np.asarray([str(names[index]) for index in shown], dtype=str)),
            "picture_rank": ("shown", rank[shown]),
            "picture_score": ("shown", scores[shown]),
        },
        coords={"version": list(kinds)},
        attrs={"ranked_by": rank_by},
    )


def _small(pixels: np.ndarray) -> np.ndarray:
    """Means over squares of pixels, so that no side is longer than `SIDE`, as 0 … 255."""
    factor = -(-max(pixels.shape[-2:]) // SIDE)
    down, across = (side // factor for side in pixels.shape[-2:])
    cut = pixels[..., : down * factor, : across * factor]
    means = cut.reshape(*pixels.shape[:-2], down, factor, across, factor).mean(axis=(-3, -1))
    return np.round(127.5 * (np.clip(means, -1, 1) + 1)).astype(np.uint8)
