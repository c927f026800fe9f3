"""Rows inside a record: written once by the sim that judged, read by everything that prints."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dae_theory.checks import Refusal
from dae_theory.compare.comparison import STANDARD_ERRORS
from dae_theory.compare.row import Row

ROUNDING = 1e-3  # relative; two runs of a number without an error bar agree within it: nets are trained in float32
EXACT = 1e-12  # absolute; what is below it in float64, a gradient that vanishes, is rounding and no number
WORDS = ("claim", "label", "relation", "verdict")
NUMBERS = ("measured", "predicted", "sem", "low", "high", "tolerance", "printed", "erratum")


def keep(data: xr.Dataset, rows: Sequence[Row]) -> xr.Dataset:
    """The data with its rows, as variables `row_…` along a dimension `row`; a number that is None is NaN."""
    values: dict[str, Any] = {
        name: ("row", np.asarray([getattr(row, name) for row in rows], dtype=object)) for name in (*WORDS, "note")
    }
    for name in NUMBERS:
        values[name] = ("row", np.asarray([_get(row, name) for row in rows], float))
    return data.assign({f"row_{name}": variable for name, variable in values.items()})


def kept(data: xr.Dataset) -> list[Row]:
    """The rows of a record.

    Raises:
        ValueError: the record has none.
    """
    if "row_claim" not in data:
        raise Refusal("data must hold its rows (variables row_claim, row_measured, …); got a record without")
    rows = []
    for k in range(data.sizes["row"]):
        words: dict[str, Any] = {name: str(data[f"row_{name}"].values[k]) for name in WORDS}
        found = {name: float(data[f"row_{name}"].values[k]) for name in NUMBERS}
        given: dict[str, Any] = {name: None if math.isnan(value) else value for name, value in found.items()}
        if "row_note" in data:  # records of earlier versions have none
            words["note"] = str(data["row_note"].values[k])
        low, high, erratum = found["low"], found["high"], given.pop("erratum")
        rows.append(
            Row(
                **words,
                measured=found["measured"],
                ends=None if math.isnan(low) and math.isnan(high) else (low, high),
                erratum=None if erratum is None else round(erratum),
                **{name: given[name] for name in ("predicted", "sem", "tolerance", "printed")},
            )
        )
    return rows


def reproduced(committed: Row, again: Row) -> bool:
    """Whether two runs give one number: within five joint standard errors, overlapping intervals, or rounding."""
    if math.isnan(committed.measured) or math.isnan(again.measured):
        return math.isnan(committed.measured) == math.isnan(again.measured)
    gap = abs(committed.measured - again.measured)
    if gap <= max(EXACT, ROUNDING * max(abs(committed.measured), abs(again.measured))):
        return True
    if committed.sem is not None and again.sem is not None:
        return gap <= STANDARD_ERRORS * math.hypot(committed.sem, again.sem)
    if committed.ends is not None and again.ends is not None:
        return max(committed.ends[0], again.ends[0]) <= min(committed.ends[1], again.ends[1])
    return False


def text(value: float | None) -> str:
    """A number for a table: four digits, an empty cell where there is none to be, "unknown" for NaN."""
    if value is None:
        return ""
    return "unknown" if math.isnan(value) else f"{value:.4g}".replace("-", "−")


def cells(row: Row) -> tuple[str, str, str, str, str, str]:
    """claim, label, predicted (with the printed form where it differs), measured with its error, z, verdict."""
    relation = "" if row.relation == "=" else f"{row.relation} "
    predicted = "" if row.predicted is None else relation + text(row.predicted)
    if row.printed is not None:
        predicted += f" (printed {text(row.printed)})"
    error = f" ± {text(row.sem)}" if row.sem is not None else ""
    if row.ends is not None:
        error = f" [{text(row.ends[0])}, {text(row.ends[1])}]"
    measured = text(row.measured) + error
    if row.note:
        reason = row.note if row.predicted is None else f"undecided: {row.note}"
        measured = reason if math.isnan(row.measured) else f"{measured}, {reason}"
    z = "" if row.z is None else f"{row.z:+.1f}".replace("-", "−")
    return row.claim, row.label, predicted, measured, z, row.verdict


def _get(row: Row, name: str) -> float:
    low, high = row.ends or (None, None)
    value = {"low": low, "high": high}[name] if name in ("low", "high") else getattr(row, name)
    return math.nan if value is None else float(value)
