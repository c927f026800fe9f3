"""Labels, and the split into samples that thresholds are fitted on and samples that are reported."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from dae_theory import checks


def labels_of(memorized: Any) -> np.ndarray:
    """Labels (n,) as booleans.

    Raises:
        ValueError: `memorized` is no vector of booleans or of 0 and 1.
    """
    labels = np.asarray(memorized)
    if labels.ndim != 1 or not (labels.dtype == bool or np.isin(labels, (0, 1)).all()):
        raise ValueError(f"memorized must be a vector of booleans or 0 and 1; got {labels.dtype} of {labels.shape}")
    return labels.astype(bool)


def stratified_split(key: Array, memorized: Any, fit_share: float = 0.5) -> np.ndarray:
    """Booleans (n,), True in the fitting split, which takes `fit_share` of either class, rounded to leave some in both.

    Raises:
        ValueError: `memorized` has fewer than two samples of a class, or `fit_share` is outside (0, 1).
    """
    checks.typed_key("key", key)
    labels = labels_of(memorized)
    if not 0 < fit_share < 1:
        raise ValueError(f"fit_share must be in (0, 1); got {fit_share}")
    fit = np.zeros(labels.size, dtype=bool)
    for part, value in zip(jax.random.split(key), (False, True), strict=True):
        members = np.flatnonzero(labels == value)
        if members.size < 2:
            raise ValueError(f"memorized must have at least two samples of either class; got {members.size} {value}")
        count = int(np.clip(round(fit_share * members.size), 1, members.size - 1))
        fit[members[np.asarray(jax.random.permutation(part, members.size))[:count]]] = True
    return fit
