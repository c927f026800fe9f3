"""Scores of every image by its name, the most suspicious first, in a file that a spreadsheet opens."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dae_theory import detection
from dae_theory.checks import Refusal


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
