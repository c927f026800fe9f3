"""Members of different sizes share programs: pad them to few sizes."""

from typing import Any

import numpy as np

from dae_theory.checks import Refusal


def buckets(sizes: Any, *, ratio: float) -> np.ndarray:
    """Pad sizes to few buckets, each size by less than a factor `ratio`.

    From the top down: the largest size opens a bucket, which takes all sizes above 1/ratio of it. A member of size s in
    a bucket of size b costs b/s times its own arithmetic (less than `ratio`), and every bucket costs a compilation.

    Args:
        sizes: positive integers, (M,).
        ratio: > 1.

    Returns:
        The bucket of every member, (M,).

    Raises:
        ValueError: sizes that are not positive integers, or a ratio not above 1.
    """
    sizes = np.asarray(sizes)
    if sizes.ndim != 1 or not np.issubdtype(sizes.dtype, np.integer) or np.any(sizes < 1):
        raise Refusal(f"sizes must be positive integers in one axis; got {sizes.dtype} of shape {sizes.shape}")
    if not ratio > 1:
        raise Refusal(f"ratio must be above 1; got {ratio}")
    result = np.zeros_like(sizes)
    while np.any(left := result == 0):
        top = sizes[left].max()
        result[left & (sizes * ratio > top)] = top
    return result
