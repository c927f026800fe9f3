"""How training holds the weights in memory: the longer of their two axes last.

A CPU multiplies transposed matrices faster when the product's rows are long, and both gradients of (5) are such
products, with e the gradient at the output and z that before the ReLU, one row a noisy sample:

    ∂W₂ᵀ = hᵀe,   ∂W₁ᵀ = zᵀy       (p, d)

So where d > p the matrices are held as (p, d), and the gradient of W₂ is taken as it is written here.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dae_theory.model import Weights, denoise, represent


def hold(weights: Weights, *, tied: bool) -> tuple[Array, ...]:
    """What is trained, (W,) when tied and (W₂, W₁) otherwise: of shape (p, d) where d > p, else (d, p)."""
    matrices = (weights.encoder,) if tied else (weights.decoder, weights.encoder)
    return tuple(w.T for w in matrices) if weights.dimension > weights.width else matrices


def weights_of(held: tuple[Array, ...], dimension: int) -> Weights:
    """The weights of f, with columns as neurons, from what `hold` gave."""
    matrices = tuple(w if w.shape[0] == dimension else w.T for w in held)
    return Weights(decoder=matrices[0], encoder=matrices[-1])


def denoise_held(weights: Weights, y: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
    """f(y) of (5), with the gradient that fits how weights are held; reverse mode only where d > p and y is a matrix.

    >>> import jax.numpy as jnp
    >>> from dae_theory import layout, model
    >>> weights = model.Weights(decoder=jnp.ones((3, 2)), encoder=jnp.ones((3, 2)))
    >>> print(layout.denoise_held(weights, jnp.array([[1.0, 0.0, 0.0]])))
    [[2. 2. 2.]]
    """
    if y.ndim != 2 or weights.dimension <= weights.width:
        return denoise(weights, y)
    return _product(represent(weights, y), weights.decoder.T)


@jax.custom_vjp
def _product(h: Float[Array, "m p"], rows: Float[Array, "p d"]) -> Float[Array, "m d"]:
    """H W₂ᵀ; JAX's own rule takes the gradient of W₂ᵀ as (eᵀh)ᵀ."""
    return h @ rows


def _forward(h: Array, rows: Array) -> tuple[Array, tuple[Array, Array]]:
    return h @ rows, (h, rows)


def _backward(kept: tuple[Array, Array], e: Array) -> tuple[Array, Array]:
    h, rows = kept
    return e @ rows.T, jnp.matmul(h.T, e)


_product.defvjp(_forward, _backward)
