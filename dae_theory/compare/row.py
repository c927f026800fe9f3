"""One verdict on one number: claim, equation, predicted, measured with its error, and how the two stand.

A `Row` is made where a result is judged, kept in the result's record (`kept`), and printed everywhere else. A tolerance
is never chosen to fit: it is rounding, five standard errors, half of the last digit that is claimed, the ends of an
interval, or a deviation that the claim itself allows.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import binomtest

from dae_theory.compare.comparison import STANDARD_ERRORS, compare

Relation = Literal["=", "≤", "≥"]
VERDICTS = ("agrees", "differs", "undecided", "measured")


@dataclass(frozen=True)
class Row:
    """measured RELATION predicted, with the error bar that the measurement has.

    Attributes:
        claim: what is measured, in words; no other row of a record has the same claim and label.
        label: the paper's equation, or our [X…] or section, and the formula.
        measured: the number.
        predicted: theory's; None where there is none.
        sem: standard error over replicates; None where nothing was sampled, or where there is an interval.
        ends: 95 % interval; None where there is a standard error.
        tolerance: absolute deviation that was allowed whatever the error; None where there was none.
        relation: how measured and predicted should stand.
        printed: what the paper's printed form gives, where that differs.
        erratum: number of the erratum that the row is evidence for.
        note: why there is no number, or no interval, in words; empty where both are.
        verdict: agrees | differs | undecided | measured (nothing was predicted). Where a printed form stands beside the
            corrected one, agrees says that the corrected form holds and the printed one does not, undecided that they
            cannot be told apart.

    >>> from dae_theory import compare
    >>> row = compare.number("length of a stored column", "(9)", 0.98617, 0.98620, tolerance=1e-3)
    >>> row.verdict
    'agrees'
    >>> compare.mean("the same over nets", "(9)", [0.9860, 0.9863, 0.9862], 0.98620).verdict
    'agrees'
    >>> compare.share("nets that hold every sample", "(9)", 29, 32, 0.5, relation="≥").verdict
    'agrees'
    """

    claim: str
    label: str
    measured: float
    predicted: float | None = None
    sem: float | None = None
    ends: tuple[float, float] | None = None
    tolerance: float | None = None
    relation: Relation = "="
    printed: float | None = None
    erratum: int | None = None
    note: str = ""
    verdict: str = "measured"

    @property
    def z(self) -> float | None:
        """(measured − predicted)/SEM."""
        if self.predicted is None or not self.sem:
            return None
        return (self.measured - self.predicted) / self.sem


def mean(
    claim: str,
    label: str,
    members: Any,
    predicted: Any = None,
    *,
    tolerance: float = 0.0,
    scale: Any = None,
    relation: Relation = "=",
) -> Row:
    """Mean over independent replicates, judged as in `compare`; an inequality by five standard errors.

    Args:
        claim: as in `Row`.
        label: as in `Row`.
        members: one number a replicate, any shape; a row with some that are not finite never agrees.
        predicted: theory.
        tolerance: largest relative deviation taken for agreement whatever z is.
        scale: what deviations are relative to, |predicted| when None.
        relation: as in `Row`.
    """
    members = np.asarray(members, float).ravel()
    found = compare(0.0 if predicted is None else float(predicted), members, tolerance=tolerance, scale=scale)
    measured, sem = float(found.mean), float(found.sem)
    allowed = None
    if predicted is None:
        verdict = "measured"
    elif relation == "=":
        verdict = str(found.verdict)
        allowed = tolerance * abs(float(predicted if scale is None else scale)) if tolerance else None
    else:
        verdict = _one_sided(measured, float(predicted), relation, STANDARD_ERRORS * sem)
        if found.missing and verdict == "agrees":
            verdict = "undecided"
    return Row(
        claim,
        label,
        measured,
        _number(predicted),
        sem=None if math.isnan(sem) else sem,
        tolerance=allowed,
        relation=relation,
        verdict=verdict,
    )


def share(claim: str, label: str, happened: Any, total: Any, predicted: Any = None, *, relation: Relation = "=") -> Row:
    """A share of independent trials with Wilson's 95 % interval; it agrees where that contains the prediction."""
    happened, total = round(float(happened)), round(float(total))
    band = binomtest(happened, total).proportion_ci(0.95, method="wilson")
    return interval(claim, label, happened / total, band.low, band.high, predicted, relation=relation)


def interval(
    claim: str,
    label: str,
    measured: Any,
    low: Any,
    high: Any,
    predicted: Any = None,
    *,
    relation: Relation = "=",
    unknown: str = "no interval",
) -> Row:
    """An estimate with a 95 % interval of its own; it agrees where that contains the prediction.

    Where an end of the interval is NaN there is none: the row says so in the words of `unknown`, the reason, and is
    undecided.
    """
    measured, low, high = float(measured), float(low), float(high)
    if predicted is None:
        verdict = "measured"
    elif not (math.isfinite(measured) and math.isfinite(low) and math.isfinite(high)):
        verdict = "undecided"
    elif relation == "=":
        verdict = "agrees" if low <= float(predicted) <= high else "differs"
    else:
        reach = high - measured if relation == "≥" else measured - low  # towards the prediction that is missed
        verdict = _one_sided(measured, float(predicted), relation, reach)
    known = not (math.isnan(low) or math.isnan(high))
    return Row(
        claim,
        label,
        measured,
        _number(predicted),
        ends=(low, high) if known else None,
        relation=relation,
        note="" if known else unknown,
        verdict=verdict,
    )


def number(
    claim: str, label: str, measured: Any, predicted: Any = None, *, tolerance: float = 0.0, relation: Relation = "="
) -> Row:
    """A number without sampling error; it agrees within an absolute tolerance."""
    measured = float(measured)
    if predicted is None:
        verdict = "measured"
    else:
        gap = measured - float(predicted)
        off = {"=": abs(gap), "≤": gap, "≥": -gap}[relation]
        verdict = "agrees" if off <= tolerance else "differs"
    return Row(
        claim, label, measured, _number(predicted), tolerance=float(tolerance), relation=relation, verdict=verdict
    )


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
