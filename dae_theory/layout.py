"""How training holds the weights in memory: the longer of their two axes last.

A CPU multiplies transposed matrices faster when the product's rows are long, and both gradients of (5) are such
products, with e the gradient at the output and z that before the ReLU, one row a noisy sample:

    ∂W₂ᵀ = hᵀe,   ∂W₁ᵀ = zᵀy       (p, d)

So where d > p the matrices are held as (p, d), and all products are taken of what is held, as they are written here:
taken of its transpose, as JAX's own rules do, XLA copies that every step.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dae_theory.model import Weights, denoise


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
    return _decode(jax.nn.relu(_encode(y, weights.encoder.T)), weights.decoder.T)


@jax.custom_vjp
def _encode(y: Float[Array, "m d"], held: Float[Array, "p d"]) -> Float[Array, "m p"]:
    """Y W₁, with ∂W₁ᵀ = ZᵀY."""
    return _sum_over(y, 1, held, 1)


_encode.defvjp(
    lambda y, held: (_encode(y, held), (y, held)),
    lambda kept, z: (z @ kept[1], _sum_over(z, 0, kept[0], 0)),
)


@jax.custom_vjp
def _decode(h: Float[Array, "m p"], held: Float[Array, "p d"]) -> Float[Array, "m d"]:
    """H W₂ᵀ, with ∂W₂ᵀ = HᵀE."""
    return h @ held


_decode.defvjp(
    lambda h, held: (_decode(h, held), (h, held)),
    lambda kept, e: (_sum_over(e, 1, kept[1], 1), jnp.matmul(kept[0].T, e)),
)


def _sum_over(a: Array, axis: int, b: Array, other: int) -> Array:
    """The product of two matrices over an axis of each, no transpose named."""
    return jax.lax.dot_general(a, b, (((axis,), (other,)), ((), ())))
