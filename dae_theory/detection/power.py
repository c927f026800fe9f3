"""What a table could have found: the smallest AUROC that so many samples tell from ½.

The standard error of an AUROC A of m memorized samples and n others, where scores have exponential tails (Hanley &
McNeil, Radiology 143, 1982), with Q₁ = A/(2 − A), Q₂ = 2A²/(1 + A):

    s(A)² = (A(1 − A) + (m − 1)(Q₁ − A²) + (n − 1)(Q₂ − A²))/(m n);   at ½: (m + n + 1)/(12 m n).

A two-sided test at `level` rejects ½ with probability `power` where A − ½ = z_{(1+level)/2} s(½) + z_power s(A).
"""

import numpy as np
import scipy.optimize
import scipy.special

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.detection import roc


def auroc_error(area: float, memorized: int, others: int) -> float:
    """s(A), the standard error of an AUROC of `memorized` and `others` samples.

    Raises:
        ValueError: `area` is outside [0, 1]; `memorized` or `others` is not a positive integer.
    """
    m, n = checks.integer("memorized", memorized, 1), checks.integer("others", others, 1)
    if not 0 <= area <= 1:
        raise Refusal(f"area must be in [0, 1]; got {area}")
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (m - 1) * (first - area**2) + (n - 1) * (second - area**2)
    return float(np.sqrt(max(variance, 0) / (m * n)))


def smallest_auroc(memorized: int, others: int, *, level: float = 0.95, power: float = 0.8) -> float:
    """The smallest AUROC above ½ that a test at `level` finds with probability `power`; 1 where none is found so often,
    ½ where it is found so often by chance, power ≤ (1 − level)/2.

    Args:
        memorized, others: Samples, or groups, of either class.
        level: Of the interval that must exclude ½; for one row of a table the simultaneous one.
        power: Probability of finding it.

    Raises:
        ValueError: As `auroc_error`; `level` or `power` is outside (0, 1).
    """
    roc.check_level(level)
    if not 0 < power < 1:
        raise Refusal(f"power must be in (0, 1); got {power}")
    reach = scipy.special.ndtri((1 + level) / 2) * auroc_error(0.5, memorized, others)

    def missing(area: float) -> float:
        return 0.5 + reach + scipy.special.ndtri(power) * auroc_error(area, memorized, others) - area

    if missing(0.5) <= 0:  # a power below (1 − level)/2 is there by chance
        return 0.5
    if missing(1.0) >= 0:
        return 1.0
    return float(scipy.optimize.root_scalar(missing, bracket=(0.5, 1.0), method="brentq").root)
