"""What images belong to, the person, scene or source image: from a table, or from how their names begin."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dae_theory.checks import Refusal

RULE = "before:"


def read(source: str, names: Sequence[str]) -> np.ndarray | None:
    """The group of every image, (n,), numbers; None where `source` is empty.

    Args:
        source: `before:MARK`, for the part of an image's name (without folder) that stands before the first MARK; or a
            CSV file with lines `image,group`, as spreadsheets write them, images named as in scores.csv. A first line
            that names no image is taken for a header.
        names: Of the images, their paths below the folder.

    Raises:
        ValueError: naming --groups: no such file, lines without two entries, images without a group or with two, or a
            mark that some name lacks.
    """
    if not source:
        return None
    groups = _by_rule(source, names) if source.startswith(RULE) else _from_table(source, names)
    return np.unique(groups, return_inverse=True)[1]


def _by_rule(source: str, names: Sequence[str]) -> list[str]:
    mark = source.removeprefix(RULE)
    without = [name for name in names if not mark or mark not in Path(name).name]
    if without:
        raise Refusal(f"--groups {RULE}MARK needs MARK in the name of every image; {without[0]!r} has no {mark!r}")
    return [Path(name).name.split(mark, 1)[0] for name in names]


def _from_table(source: str, names: Sequence[str]) -> list[str]:
    if not Path(source).is_file():
        raise Refusal(f"--groups must be a CSV file of image,group or {RULE}MARK; got {source!r}")
    with Path(source).open(newline="", encoding="utf-8-sig") as opened:
        lines = [[cell.strip() for cell in line] for line in csv.reader(opened) if line]
    if any(len(line) != 2 for line in lines):
        wrong = next(line for line in lines if len(line) != 2)
        raise Refusal(f"--groups must hold two entries a line, image,group; {source} holds {wrong}")
    known = set(names)
    if lines and lines[0][0] not in known:
        lines = lines[1:]
    found: dict[str, str] = {}
    for name, group in lines:
        if name not in known:
            raise Refusal(f"--groups must name images below --images, as scores.csv does; {source} names {name!r}")
        if found.setdefault(name, group) != group:
            raise Refusal(f"--groups must give every image one group; {source} gives {name!r} two")
    missing = [name for name in names if name not in found]
    if missing:
        raise Refusal(f"--groups must give every image a group; {source} lacks {len(missing)}, e.g. {missing[0]!r}")
    return [found[name] for name in names]
