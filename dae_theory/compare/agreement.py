"""How well a prediction agrees with measurement over many cells, in two numbers."""

from typing import Any

import numpy as np
from flax import struct

from dae_theory import checks
from dae_theory.checks import Refusal


@struct.dataclass
class Agreement:
    """A prediction beside a measurement over cells, without a fit between them.

    Attributes:
        r_squared: 1 − Σ(measured − predicted)²/Σ(measured − its mean)²; 1 where all agree, 0 or less where the mean
            would predict as well, NaN where the measured cells do not differ.
        largest_miss: max |measured − predicted|.
        cells: how many cells there are.
    """

    r_squared: float
    largest_miss: float
    cells: int


def agreement(predicted: Any, measured: Any) -> Agreement:
    """Compare cell by cell.

    Args:
        predicted: (...), in the units of what is measured.
        measured: of the same shape, at least two cells.

    Raises:
        ValueError: shapes that differ, fewer than two cells, or a cell that is not finite.

    >>> from dae_theory import compare
    >>> found = compare.agreement([0.2, 0.4, 0.6], [0.2, 0.5, 0.6])
    >>> print(round(found.r_squared, 3), round(found.largest_miss, 3), found.cells)
    0.885 0.1 3
    """
    predicted, measured = np.asarray(predicted, float), np.asarray(measured, float)
    checks.shape("measured", measured, predicted.shape)
    if measured.size < 2:
        raise Refusal(f"measured must have at least 2 cells; got {measured.size}")
    for name, values in (("predicted", predicted), ("measured", measured)):
        if not np.isfinite(values).all():
            raise Refusal(f"{name} must be finite in every cell; got {np.sum(~np.isfinite(values))} that are not")
    miss, spread = measured - predicted, np.sum((measured - measured.mean()) ** 2)
    r_squared = float(1 - np.sum(miss**2) / spread) if spread > 0 else float("nan")
    return Agreement(r_squared, float(np.abs(miss).max()), measured.size)
