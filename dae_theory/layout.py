"""How training holds the weights in memory: the longer of their two axes last.

A CPU multiplies transposed matrices faster when the product's rows are long, and both gradients of (5) are such
products, with e the gradient at the output and z that before the ReLU, one row a noisy sample:

    ∂W₂ᵀ = hᵀe,   ∂W₁ᵀ = zᵀy       (p, d)

So where d > p the matrices are held as (p, d), and products are written with what is held. JAX's own gradients use its
transpose, which XLA then copies every step.
"""

import jax
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
    """Y W₁."""
    return _over(1, y, held)


def _encode_and_keep(y: Array, held: Array) -> tuple[Array, tuple[Array, Array]]:
    return _encode(y, held), (y, held)


def _encode_back(kept: tuple[Array, Array], z: Array) -> tuple[Array, Array]:
    y, held = kept
    return z @ held, _over(0, z, y)


@jax.custom_vjp
def _decode(h: Float[Array, "m p"], held: Float[Array, "p d"]) -> Float[Array, "m d"]:
    """H W₂ᵀ."""
    return h @ held


def _decode_and_keep(h: Array, held: Array) -> tuple[Array, tuple[Array, Array]]:
    return _decode(h, held), (h, held)


def _decode_back(kept: tuple[Array, Array], e: Array) -> tuple[Array, Array]:
    h, held = kept
    return _over(1, e, held), _over(0, h, e)


_encode.defvjp(_encode_and_keep, _encode_back)
_decode.defvjp(_decode_and_keep, _decode_back)


def _over(axis: int, a: Array, b: Array) -> Array:
    """The product of two matrices, summed over the same axis of both."""
    return jax.lax.dot_general(a, b, (((axis,), (axis,)), ((), ())))
