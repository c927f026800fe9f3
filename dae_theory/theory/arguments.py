"""Arguments shared by the analytic solvers: numbers, labels and ranks, checked once."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dae_theory import checks
from dae_theory.checks import Refusal


def number(name: str, value: Any, dtype: Any) -> Float[Array, ""]:
    """A scalar ≥ 0 of the given dtype, so that a float64 number never promotes float32 data.

    Raises:
        ValueError: the value is negative, not finite or not a scalar.
    """
    checks.non_negative(name, value)
    checks.shape(name, value, ())
    return jnp.asarray(value, dtype)


def ranks_tuple(ranks: Any) -> tuple[int, ...]:
    """Neurons of every block, p_k ≥ 0, with at least one neuron in total.

    Raises:
        ValueError: `ranks` is empty, holds no neuron, or holds anything but non-negative integers.
    """
    values = np.asarray(ranks)
    if values.ndim != 1 or values.size == 0 or not np.issubdtype(values.dtype, np.integer):
        raise Refusal(f"ranks must be a sequence of integers, one for every block; got {ranks!r}")
    if values.min() < 0 or values.sum() == 0:
        raise Refusal(f"ranks must be ≥ 0 with a positive sum; got {values.tolist()}")
    return tuple(int(value) for value in values)


def cluster_labels(labels: Any, samples: int, blocks: int) -> np.ndarray:
    """Labels of n samples as concrete integers in 0 … blocks − 1.

    Raises:
        ValueError: `labels` is traced, has another shape, or holds anything but such integers.
    """
    if checks.is_traced(labels):
        raise Refusal("labels must be concrete, since they decide the shapes of the blocks; got a traced array")
    values = np.asarray(labels)
    checks.shape("labels", values, (samples,))
    if not np.issubdtype(values.dtype, np.integer):
        raise Refusal(f"labels must be integers; got dtype {values.dtype}")
    if values.min() < 0 or values.max() >= blocks:
        raise Refusal(
            f"labels must lie in 0 … {blocks - 1}, one rank for every cluster; got {values.min()} … {values.max()}"
        )
    return values


def full_width(width: Any, needed: int) -> int:
    """Neurons of the solution, `needed` where no width is given.

    Raises:
        ValueError: `width` is not an integer of at least `needed`.
    """
    return needed if width is None else checks.integer("width", width, minimum=needed)
