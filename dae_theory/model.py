"""The model of the paper's eq. (5): a two-layer ReLU denoising autoencoder without biases.

h(y) = [W₁ᵀ y]₊        f(y) = W₂ h(y)        J(y) = W₂ diag(1[W₁ᵀ y > 0]) W₁ᵀ
"""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from dae_theory.checks import Refusal


@struct.dataclass
class Weights:
    """Weights of f(y) = W₂ [W₁ᵀ y]₊, eq. (5); neuron j is column j of both matrices.

    Attributes:
        decoder: W₂, shape (d, p).
        encoder: W₁, shape (d, p).

    >>> import jax.numpy as jnp
    >>> from dae_theory import model
    >>> weights = model.Weights(decoder=jnp.zeros((3, 8)), encoder=jnp.zeros((3, 8)))
    >>> weights.dimension, weights.width
    (3, 8)
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
    """Representation h(y) = [W₁ᵀ y]₊ of inputs of shape (..., d): shape (..., p).

    >>> import jax.numpy as jnp
    >>> from dae_theory import model
    >>> weights = model.Weights(decoder=jnp.eye(2), encoder=jnp.eye(2))
    >>> print(model.represent(weights, jnp.array([3.0, -1.0])))
    [3. 0.]
    """
    return jax.nn.relu(y @ weights.encoder)


def denoise(weights: Weights, y: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
    """Denoiser f(y) = W₂ [W₁ᵀ y]₊, eq. (5), for inputs of shape (..., d).

    >>> import jax.numpy as jnp
    >>> from dae_theory import model
    >>> weights = model.Weights(decoder=jnp.array([[1.0, 0.0], [0.0, 0.5]]), encoder=jnp.eye(2))
    >>> print(model.denoise(weights, jnp.array([3.0, 4.0])))
    [3. 2.]
    """
    return represent(weights, y) @ weights.decoder.T


def jacobian(weights: Weights, y: Float[Array, " d"]) -> Float[Array, "d d"]:
    """Jacobian J(y) = W₂ diag(1[W₁ᵀ y > 0]) W₁ᵀ of the denoiser at one input of shape (d,).

    >>> import jax.numpy as jnp
    >>> from dae_theory import model
    >>> weights = model.Weights(decoder=jnp.eye(2), encoder=jnp.eye(2))
    >>> print(model.jacobian(weights, jnp.array([3.0, -1.0])))
    [[1. 0.]
     [0. 0.]]
    """
    gate = (y @ weights.encoder > 0).astype(weights.decoder.dtype)
    return (weights.decoder * gate[None, :]) @ weights.encoder.T


def jacobian_error(
    weights: Weights, x: Float[Array, "m d"], directions: Float[Array, "m d r"], gains: Float[Array, "m r"]
) -> Float[Array, ""]:
    """Mean over inputs of ‖J(x_i) − P_i‖_F/‖P_i‖_F, where theory predicts the Jacobian P_i = U_i diag(a_i) U_iᵀ.

    It does not see how neurons are split or rotated. Memorizing, Cor. 3.2: P_i = a x̂_ix̂_iᵀ, gains a as in (9);
    generalizing, Cor. 3.3: the filter of x_i's component. Computed without any d × d matrix, from

        ‖J‖² = g[(W₂ᵀW₂) ∘ (W₁ᵀW₁)]g,   ⟨J, P⟩ = Σ_r a_r Σ_j g_j (u_rᵀw₂_j)(u_rᵀw₁_j),   ‖P‖² = Σ_r a_r²

    with the gates g = 1[W₁ᵀx > 0].

    Args:
        weights: of the denoiser, (d, p).
        x: inputs.
        directions: U_i, orthonormal columns for every input.
        gains: a_i; where all of them are 0 there is no relative error, and the mean is NaN.
    """
    inner = (weights.decoder.T @ weights.decoder) * (weights.encoder.T @ weights.encoder)

    def one(x: Array, directions: Array, gains: Array) -> tuple[Array, Array]:
        gate = (x @ weights.encoder > 0).astype(x.dtype)
        overlap = (directions.T @ weights.decoder * gate[None, :] * (directions.T @ weights.encoder)).sum(axis=1)
        predicted = jnp.sum(gains**2)
        return gate @ inner @ gate - 2 * gains @ overlap + predicted, predicted

    square, predicted = jax.vmap(one)(x, directions, gains)
    return jnp.mean(jnp.sqrt(jnp.where(predicted > 0, jnp.maximum(square, 0) / predicted, jnp.nan)))


def pad_width(weights: Weights, width: int) -> Weights:
    """The same function with zero columns appended up to `width` neurons.

    Raises:
        ValueError: `width` is below the width of the weights.

    >>> import jax.numpy as jnp
    >>> from dae_theory import model
    >>> model.pad_width(model.Weights(jnp.ones((2, 1)), jnp.ones((2, 1))), 3).width
    3
    """
    missing = width - weights.width
    if missing < 0:
        raise Refusal(f"width must be at least the {weights.width} neurons of the weights; got {width}")
    return jax.tree.map(lambda w: jnp.pad(w, ((0, 0), (0, missing))), weights)
