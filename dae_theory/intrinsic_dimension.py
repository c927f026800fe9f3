"""Intrinsic dimension of points from their two nearest neighbours (Facco et al., Scientific Reports 7, 2017).

Where the density is locally constant in I dimensions, μ = r₂/r₁ has the density I μ^(−I−1): log μ is exponential with
rate I. Of the N ratios the largest, where the density is no longer constant, are left out; that censors the exponential
at the largest one kept, and the maximum of the likelihood for r kept of N is

    I = r / (Σ_{i ≤ r} log μ_(i) + (N − r) log μ_(r)),   standard error I/√r.

The kept ones as if they were all, r/Σ_{i ≤ r} log μ_(i), would give too much, 1.34 times I when a tenth is dropped.
"""

from typing import Any

import numpy as np
from flax import struct
from scipy import spatial

from dae_theory import checks
from dae_theory.checks import Refusal


@struct.dataclass
class Dimension:
    """An intrinsic dimension.

    Attributes:
        estimate: I.
        standard_error: I/√r.
        kept: r, ratios used.
        points: N, distinct points.
    """

    estimate: float
    standard_error: float
    kept: int
    points: int


def two_nearest(points: Any, *, dropped: float = 0.1) -> Dimension:
    """The dimension that points fill, of any representation or of the data. Not under jit.

    Args:
        points: (N, d), copies count once.
        dropped: Share of the largest ratios that is censored.

    Raises:
        ValueError: fewer than ten distinct points; `dropped` is outside [0, 1).

    >>> import numpy as np
    >>> from dae_theory import intrinsic_dimension
    >>> plane = np.random.default_rng(0).random((2000, 2)) @ np.ones((2, 5)) ** np.arange(1, 3)[:, None]
    >>> line = intrinsic_dimension.two_nearest(plane)
    >>> print(abs(line.estimate - 1) < 5 * line.standard_error)
    True
    """
    rows = np.unique(np.asarray(checks.samples("points", points)), axis=0)
    if not 0 <= dropped < 1:
        raise Refusal(f"dropped must be in [0, 1); got {dropped}")
    if len(rows) < 10:
        raise Refusal(f"points must hold at least ten distinct ones; got {len(rows)}")
    distances = spatial.KDTree(rows).query(rows, k=3)[0]
    return from_ratios(distances[:, 2] / distances[:, 1], dropped=dropped)


def from_ratios(ratios: Any, *, dropped: float = 0.1) -> Dimension:
    """The dimension from ratios μ = r₂/r₁ ≥ 1, (N,), the largest share `dropped` censored.

    Raises:
        ValueError: `ratios` are no vector or below 1, or all equal 1; `dropped` is outside [0, 1).

    >>> from dae_theory import intrinsic_dimension
    >>> print(round(intrinsic_dimension.from_ratios([2.0] * 10, dropped=0.0).estimate, 4))
    1.4427
    """
    ratios = np.asarray(ratios, dtype=float)
    checks.finite("ratios", ratios)
    if ratios.ndim != 1 or ratios.size == 0 or np.any(ratios < 1):
        raise Refusal(f"ratios must be a vector of numbers ≥ 1; got shape {ratios.shape}")
    if not 0 <= dropped < 1:
        raise Refusal(f"dropped must be in [0, 1); got {dropped}")
    ordered = np.sort(np.log(ratios))
    kept = max(1, int(np.floor((1 - dropped) * ordered.size)))
    total = ordered[:kept].sum() + (ordered.size - kept) * ordered[kept - 1]
    if total == 0:
        raise Refusal("ratios must not all be 1")
    estimate = float(kept / total)
    return Dimension(estimate, estimate / np.sqrt(kept), kept, ordered.size)
