"""Tables for the terminal, no wider than it is: long cells wrap, columns never do."""

import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

NARROWEST = 8  # characters that a wrapped column keeps


def table(rows: Sequence[Sequence[Any]], header: Sequence[str], *, width: int | None = None) -> str:
    """Aligned columns; where they are wider than the terminal, cells of the widest columns wrap.

    Args:
        rows: cells.
        header: one word or more a column.
        width: characters; that of the terminal by default (80 where there is none).
    """
    width = shutil.get_terminal_size((80, 24)).columns if width is None else width
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    least = [
        min(own, max(NARROWEST, *(len(word) for row in cells for word in row[column].split()), 0))
        for column, own in enumerate(widths)
    ]
    while sum(widths) + 2 * (len(widths) - 1) > width:
        loose = [column for column in range(len(widths)) if widths[column] > least[column]]
        if not loose:
            break
        widths[max(loose, key=lambda column: widths[column])] -= 1
    wrapped = [[textwrap.wrap(cell, own) or [""] for cell, own in zip(row, widths, strict=True)] for row in cells]
    lines = [line for row in wrapped[:1] for line in _lines(row, widths)]
    rule = "-" * min(width, sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([*lines, rule, *(line for row in wrapped[1:] for line in _lines(row, widths))])


def wrap(text: str, *, width: int | None = None, hanging: str | None = None) -> str:
    """Lines no longer than the terminal; what is wrapped hangs under its line, two further in than that by default."""
    width = shutil.get_terminal_size((80, 24)).columns if width is None else width
    lines = []
    for line in text.splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        below = indent + "  " if hanging is None else hanging
        lines += textwrap.wrap(line, width, subsequent_indent=below, break_long_words=False) or [""]
    return "\n".join(lines)


def _lines(row: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    """The printed lines of one row of wrapped cells."""
    tall = max(len(cell) for cell in row)
    padded = [[*cell, *[""] * (tall - len(cell))] for cell in row]
    parts = [[part.ljust(own) for part in cell] for cell, own in zip(padded, widths, strict=True)]
    return ["  ".join(line).rstrip() for line in zip(*parts, strict=True)]
