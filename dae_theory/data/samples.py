"""Labelled samples, and the two operations that every data source shares: duplicating rows and placing coordinates."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from dae_theory import checks
from dae_theory.checks import Refusal


@struct.dataclass
class Samples:
    """n labelled samples.

    Attributes:
        x: X, one sample a row, shape (n, d).
        labels: index of the component (cluster, sector, class) of each sample, int32, shape (n,).
    """

    x: Float[Array, "*batch n d"]
    labels: Int[Array, "*batch n"]


def duplicate(samples: Samples, index: int | Sequence[int] | Any, copies: int) -> Samples:
    """The samples at `index` made to appear `copies` times in total, the hybrid regime's duplicates (Cor. 3.4).

    The given samples keep their rows; the copies − 1 new ones follow at the end, the whole set at `index` in its order,
    then the whole set again. Copies keep the label of their original. So n becomes n + (copies − 1)·len(index), and
    `copies = 1` changes nothing.

    Args:
        samples: x of shape (n, d) and labels of shape (n,).
        index: one row or several different ones, each from 0 to n − 1.
        copies: how often each of them appears in the result, ≥ 1; static under jit.

    Raises:
        ValueError: `index` is empty, out of range or names a row twice; `copies` is below 1.

    >>> import jax.numpy as jnp
    >>> from dae_theory import data
    >>> samples = data.Samples(x=jnp.array([[1.0], [2.0]]), labels=jnp.array([0, 1]))
    >>> print(data.duplicate(samples, 1, copies=3).x.ravel())
    [1. 2. 2. 2.]
    """
    copies = checks.integer("copies", copies, 1)
    count = samples.x.shape[0]
    rows = jnp.atleast_1d(jnp.asarray(index))
    if rows.ndim != 1 or rows.size == 0 or not jnp.issubdtype(rows.dtype, jnp.integer):
        raise Refusal(f"index must be one integer or a sequence of integers; got {index!r}")
    if not checks.is_traced(rows):
        chosen = np.asarray(rows)
        if chosen.min() < 0 or chosen.max() >= count:
            raise Refusal(f"index must be between 0 and {count - 1}; got {index!r}")
        if len(set(chosen.tolist())) != len(chosen):
            raise Refusal(f"index must name every row once; got {index!r}")
    rows = rows.astype(jnp.int32)
    order = jnp.concatenate([jnp.arange(count, dtype=jnp.int32), jnp.tile(rows, copies - 1)])
    return Samples(samples.x[order], samples.labels[order])


def place(
    labels: Int[Array, " n"],
    coordinates: Float[Array, "n r"],
    shifts: Float[Array, "K d"],
    factors: Float[Array, "K d r"],
) -> Float[Array, "n d"]:
    """x_i = shift_k + F_k z_i with k the label of row i: coordinates z carried into the affine subspace of their label.

    One product with the stacked factors instead of a gather of a (d, r) matrix for every sample, so memory is
    O(n (d + K r)).
    """
    components, dimension, rank = factors.shape
    member = jax.nn.one_hot(labels, components, dtype=coordinates.dtype)
    design = (member[:, :, None] * coordinates[:, None, :]).reshape(-1, components * rank)
    stacked = jnp.swapaxes(factors, 1, 2).reshape(components * rank, dimension)
    # Data must not be rounded to TF32 on accelerators.
    return shifts[labels] + jnp.matmul(design, stacked, precision=jax.lax.Precision.HIGHEST)
