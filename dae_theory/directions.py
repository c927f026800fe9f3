"""Vectors as directions: what is left of rows when their lengths do not count.

A net without biases is positively homogeneous, f(cy) = c f(y) for c > 0: it stores directions, not lengths.
"""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from dae_theory import checks
from dae_theory.checks import Refusal


def unit(rows: ArrayLike) -> Float[Array, "*batch d"]:
    """x̂ = x/‖x‖ for every row, shape (..., d); a row of zeros has no direction and stays zero.

    Works under jit, vmap and grad; the derivative at a row of zeros is zero as well.

    Raises:
        ValueError: `rows` is a scalar, or not finite.

    >>> import jax.numpy as jnp
    >>> from dae_theory import directions
    >>> print(directions.unit(jnp.array([[3.0, 4.0], [0.0, 0.0]])))
    [[0.6 0.8]
     [0.  0. ]]
    """
    rows = jnp.asarray(rows)
    if rows.ndim == 0:
        raise Refusal(f"rows must have at least one axis; got shape {rows.shape}")
    checks.finite("rows", rows)
    squares = jnp.sum(rows**2, axis=-1, keepdims=True)
    positive = squares > 0
    return jnp.where(positive, rows / jnp.sqrt(jnp.where(positive, squares, 1)), jnp.zeros_like(rows))
