"""Theory beside measurement: cell by cell over an ensemble (`compare`), and one verdict a claim (`Row`)."""

from dae_theory.compare.agreement import Agreement, agreement
from dae_theory.compare.comparison import STANDARD_ERRORS, Comparison, compare, lines
from dae_theory.compare.kept import cells, keep, kept, reproduced, text
from dae_theory.compare.row import VERDICTS, Relation, Row, interval, mean, number, share

__all__ = [
    "STANDARD_ERRORS",
    "VERDICTS",
    "Agreement",
    "Comparison",
    "Relation",
    "Row",
    "agreement",
    "cells",
    "compare",
    "interval",
    "keep",
    "kept",
    "lines",
    "mean",
    "number",
    "reproduced",
    "share",
    "text",
]
