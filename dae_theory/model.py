"""The model of the paper's eq. (5): a two-layer ReLU denoising autoencoder without biases.

h(y) = [W₁ᵀ y]₊        f(y) = W₂ h(y)        J(y) = W₂ diag(1[W₁ᵀ y > 0]) W₁ᵀ
"""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float


@struct.dataclass
class Weights:
    """Weights of f(y) = W₂ [W₁ᵀ y]₊, eq. (5); neuron j is column j of both matrices.

    Attributes:
        decoder: W₂, shape (d, p).
        encoder: W₁, shape (d, p).
    """

    decoder: Float[Array, "*members d p"]
    encoder: Float[Array, "*members d p"]

    @property
    def dimension(self) -> int:
        """d, the dimension of the data."""
        return self.encoder.shape[-2]

    @property
    def width(self) -> int:
        """p, the number of neurons."""
        return self.encoder.shape[-1]


def represent(weights: Weights, y: Float[Array, "*batch d"]) -> Float[Array, "*batch p"]:
    """Representation h(y) = [W₁ᵀ y]₊ of inputs of shape (..., d): shape (..., p)."""
    return jax.nn.relu(y @ weights.encoder)


def denoise(weights: Weights, y: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
    """Denoiser f(y) = W₂ [W₁ᵀ y]₊, eq. (5), for inputs of shape (..., d)."""
    return represent(weights, y) @ weights.decoder.T


def jacobian(weights: Weights, y: Float[Array, " d"]) -> Float[Array, "d d"]:
    """Jacobian J(y) = W₂ diag(1[W₁ᵀ y > 0]) W₁ᵀ of the denoiser at one input of shape (d,)."""
    gate = (y @ weights.encoder > 0).astype(weights.decoder.dtype)
    return (weights.decoder * gate[None, :]) @ weights.encoder.T


def pad_width(weights: Weights, width: int) -> Weights:
    """The same function with zero columns appended up to `width` neurons.

    Raises:
        ValueError: `width` is below the width of the weights.
    """
    missing = width - weights.width
    if missing < 0:
        raise ValueError(f"width must be at least the {weights.width} neurons of the weights; got {width}")
    return jax.tree.map(lambda w: jnp.pad(w, ((0, 0), (0, missing))), weights)
