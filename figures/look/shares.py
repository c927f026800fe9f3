"""A share of nets or samples as a point with its 95 % Wilson interval."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from scipy.stats import binomtest


def point(axes: Axes, position: float, happened: Any, **look: Any) -> None:
    """Share of true entries at a position."""
    happened = np.asarray(happened, bool).ravel()
    share = happened.mean()
    interval = binomtest(int(happened.sum()), happened.size).proportion_ci(0.95, method="wilson")
    error = [[max(share - interval.low, 0.0)], [max(interval.high - share, 0.0)]]
    axes.errorbar(position, share, yerr=error, **look)
