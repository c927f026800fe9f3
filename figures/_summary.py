"""What a figure states, in numbers: one row a claim, computed from the record alone.

Beside `draw`, every figures/NAME.py has

    def summary(data: xr.Dataset) -> list[Row]:
        return [
            mean("norms of learned columns", "(9)  r² = (‖x‖² − nλ)/(‖x‖⁴ + σ²‖x‖²)", ratios, 1.0, tolerance=0.02),
            share("nets that keep the sample", "Cor. 3.4  m* = nλ/‖x‖²", kept, nets, 1.0, relation="≥"),
            interval("fitted exponent", "Thm 3.1", estimate, low, high, 1.0),
            number("gradient at the formula", "(7), (8)", norm, 0.0, tolerance=1e-8),
        ]

and a docstring that says the claim. `figures.make --report` prints rows, docstring and manifest beside the picture;
`--from-scratch` compares the rows of a new record with those of the committed one. Leave `predicted` out where theory
gives no number. No number is typed: theory's comes from the record (or from dae_theory), so does the measured one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import binomtest

from dae_theory import compare

Relation = Literal["=", "≤", "≥"]
STANDARD_ERRORS = 5.0
ROUNDING = 1e-3  # relative; two runs of a number without an error bar agree within it: nets are trained in float32
EXACT = 1e-12  # absolute; what is below it in float64, a gradient that vanishes, is rounding and no number


@dataclass(frozen=True)
class Row:
    """measured RELATION predicted, with the error bar that the measurement has.

    Attributes:
        claim: what is measured, in words.
        equation: the paper's label, and the formula.
        measured: the number.
        predicted: theory's; None where there is none.
        sem: standard error over replicates; None where nothing was sampled, or where there is an interval.
        ends: 95 % interval; None where there is a standard error.
        relation: how measured and predicted should stand.
        verdict: agrees | differs | undecided | measured (nothing was predicted).
    """

    claim: str
    equation: str
    measured: float
    predicted: float | None = None
    sem: float | None = None
    ends: tuple[float, float] | None = None
    relation: Relation = "="
    verdict: str = "measured"

    @property
    def z(self) -> float | None:
        """(measured − predicted)/SEM."""
        if self.predicted is None or not self.sem:
            return None
        return (self.measured - self.predicted) / self.sem


def mean(
    claim: str, equation: str, members: Any, predicted: Any = None, *, tolerance: float = 0.0, scale: Any = None,
    relation: Relation = "=",
) -> Row:  # fmt: skip
    """Mean over independent replicates, judged as in `compare.compare`; an inequality by five standard errors.

    Args:
        claim: as in `Row`.
        equation: as in `Row`.
        members: one number a replicate, any shape; those that are not finite make the row undecided.
        predicted: theory.
        tolerance: largest relative deviation taken for agreement whatever z is.
        scale: what deviations are relative to, |predicted| when None.
        relation: as in `Row`.
    """
    members = np.asarray(members, float).ravel()
    found = compare.compare(0.0 if predicted is None else float(predicted), members, tolerance=tolerance, scale=scale)
    measured, sem = float(found.mean), float(found.sem)
    if predicted is None:
        verdict = "measured"
    elif relation == "=":
        verdict = str(found.verdict)
    else:
        verdict = _one_sided(measured, float(predicted), relation, STANDARD_ERRORS * sem)
    return Row(claim, equation, measured, _number(predicted), None if math.isnan(sem) else sem, None, relation, verdict)


def share(
    claim: str, equation: str, happened: Any, total: Any, predicted: Any = None, *, relation: Relation = "="
) -> Row:
    """A share of independent trials with Wilson's 95 % interval; it agrees where that contains the prediction."""
    happened, total = round(float(happened)), round(float(total))
    band = binomtest(happened, total).proportion_ci(0.95, method="wilson")
    return interval(claim, equation, happened / total, band.low, band.high, predicted, relation=relation)


def interval(
    claim: str, equation: str, measured: Any, low: Any, high: Any, predicted: Any = None, *, relation: Relation = "="
) -> Row:
    """An estimate with a 95 % interval of its own; it agrees where that contains the prediction."""
    measured, low, high = float(measured), float(low), float(high)
    if predicted is None:
        verdict = "measured"
    elif not (math.isfinite(low) and math.isfinite(high)):
        verdict = "undecided"
    elif relation == "=":
        verdict = "agrees" if low <= float(predicted) <= high else "differs"
    else:
        reach = measured - low if relation == "≥" else high - measured
        verdict = _one_sided(measured, float(predicted), relation, reach)
    return Row(claim, equation, measured, _number(predicted), None, (low, high), relation, verdict)


def number(
    claim: str, equation: str, measured: Any, predicted: Any = None, *, tolerance: float = 0.0, relation: Relation = "="
) -> Row:
    """A number without sampling error; it agrees within an absolute tolerance."""
    measured = float(measured)
    if predicted is None:
        verdict = "measured"
    else:
        gap = measured - float(predicted)
        off = {"=": abs(gap), "≤": gap, "≥": -gap}[relation]
        verdict = "agrees" if off <= tolerance else "differs"
    return Row(claim, equation, measured, _number(predicted), None, None, relation, verdict)


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
    """A number for a table: four digits, or an empty cell."""
    return "" if value is None else f"{value:.4g}".replace("-", "−")


def cells(row: Row) -> Sequence[str]:
    """claim, equation, predicted, measured with its error, z, verdict."""
    relation = "" if row.relation == "=" else f"{row.relation} "
    predicted = "" if row.predicted is None else relation + text(row.predicted)
    error = f" ± {text(row.sem)}" if row.sem is not None else ""
    if row.ends is not None:
        error = f" [{text(row.ends[0])}, {text(row.ends[1])}]"
    z = "" if row.z is None else f"{row.z:+.1f}".replace("-", "−")
    return row.claim, row.equation, predicted, text(row.measured) + error, z, row.verdict


def _one_sided(measured: float, predicted: float, relation: Relation, reach: float) -> str:
    """An inequality that is met agrees; one that is missed differs by more than the error's reach, or is undecided."""
    excess = measured - predicted if relation == "≤" else predicted - measured
    if math.isnan(excess):
        return "undecided"
    if excess <= 0:
        return "agrees"
    return "differs" if excess > reach else "undecided"


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
