"""Labels, and the split into samples that thresholds are fitted on and samples that are reported."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from dae_theory import checks
from dae_theory.checks import Refusal


def labels_of(memorized: Any) -> np.ndarray:
    """Labels (n,) as booleans.

    Raises:
        ValueError: `memorized` is no vector of booleans or of 0 and 1.
    """
    labels = np.asarray(memorized)
    if labels.ndim != 1 or not (labels.dtype == bool or np.isin(labels, (0, 1)).all()):
        raise Refusal(f"memorized must be a vector of booleans or 0 and 1; got {labels.dtype} of {labels.shape}")
    return labels.astype(bool)


def groups_of(groups: Any, count: int) -> np.ndarray:
    """Number of each sample's group, (n,), from 0 without gaps; each its own when None.

    Raises:
        ValueError: `groups` has another length.
    """
    if groups is None:
        return np.arange(count)
    groups = np.asarray(groups)
    if groups.shape != (count,):
        raise Refusal(f"groups must have one entry for each of the {count} samples; got shape {groups.shape}")
    return np.unique(groups, return_inverse=True)[1]


def stratified_split(key: Array, memorized: Any, fit_share: float = 0.5, *, groups: Any = None) -> np.ndarray:
    """Booleans (n,), True in the fitting split, which takes `fit_share` of either class, rounded to leave some in both.

    Args:
        key: A typed key.
        memorized: Labels, (n,).
        fit_share: Share of the samples, or of the groups, that thresholds are fitted on.
        groups: What samples belong to, (n,): a group stays on one side. Groups with memorized samples are one class,
            those without the other.

    Raises:
        ValueError: `memorized` leaves fewer than two samples, or groups, of a class; `fit_share` is outside (0, 1);
            `groups` has another length.
    """
    checks.typed_key("key", key)
    labels = labels_of(memorized)
    if not 0 < fit_share < 1:
        raise Refusal(f"fit_share must be in (0, 1); got {fit_share}")
    members = groups_of(groups, labels.size)
    kinds = np.zeros(int(members.max(initial=-1)) + 1, dtype=bool)
    kinds[members[labels]] = True
    fit = np.zeros(kinds.size, dtype=bool)
    for part, value in zip(jax.random.split(key), (False, True), strict=True):
        those = np.flatnonzero(kinds == value)
        if those.size < 2:
            what = "samples" if groups is None else "groups"
            raise Refusal(f"memorized must have at least two {what} of either class; got {those.size} {value}")
        count = int(np.clip(round(fit_share * those.size), 1, those.size - 1))
        fit[those[np.asarray(jax.random.permutation(part, those.size))[:count]]] = True
    return fit[members]
