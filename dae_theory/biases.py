r"""[X15] Biases of the encoder, exactly: one constant coordinate of the data that carries no noise.

$$f(y) = W_2 [W_1^\top y + b]_+ = W_2 [W_1^{+\top} y^+]_+, \quad W_1^+ = \begin{pmatrix} W_1 \\ b^\top \end{pmatrix},
\quad y^+ = (x + \sigma\varepsilon, 1)$$

The bias is the last row of an encoder with d + 1 rows. It shifts the mean of z alone,

$$z \sim \mathcal N(W_1^\top x + b, \; \sigma^2 W_1^\top W_1),$$

so every closed form of `risk` holds at the shifted mean. The last row of the decoder would reconstruct the constant: no
function here reads it, and only training's weight decay moves it. Weight decay counts b as it counts W₁.

The net is no longer positively homogeneous. Closed-form minimizers (`theory`), certificates and `symmetry` are those of
the net without biases, and know nothing of the constant; `dynamics.gradient_flow` follows nets `with_biases`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.data import GaussianMixture
from dae_theory.model import Weights, represent
from dae_theory.risk.exact import MEMORY, arguments, full_precision, moments, shares, square


def with_constant(x: Float[Array, "*batch d"]) -> Float[Array, "*batch d+1"]:
    """(x, 1): the last coordinate is the constant, shape (..., d + 1).

    >>> import jax.numpy as jnp
    >>> from dae_theory import biases
    >>> print(biases.with_constant(jnp.array([[2.0, 3.0]])))
    [[2. 3. 1.]]
    """
    x = jnp.asarray(x)
    return jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)


def denoise(weights: Weights, y: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
    """f(y) = W₂[W₁ᵀy + b]₊ for inputs (..., d) and weights of d + 1 rows.

    >>> import jax.numpy as jnp
    >>> from dae_theory import biases, model
    >>> weights = model.Weights(decoder=jnp.array([[1.0], [0.0]]), encoder=jnp.array([[1.0], [-0.5]]))
    >>> print(biases.denoise(weights, jnp.array([2.0])), biases.denoise(weights, jnp.array([4.0])))
    [1.5] [3.5]
    """
    return represent(weights, with_constant(y)) @ weights.decoder[:-1].T


def with_biases(
    model: Callable[[Weights, Weights, Array], Array],
) -> Callable[[Weights, Weights, Array], Array]:
    """`model` for `training.Settings(denoiser=…)`, trained on samples `with_constant`: it learns biases.

    Training adds noise to every coordinate; here the constant is put back at the input, and at the output, where its
    error is then zero. What is trained is exactly the net with biases.

    Args:
        model: (weights, initial weights, y) -> f(y), as `training.trained_denoiser` or `dynamics.centered`.

    >>> import jax, jax.numpy as jnp
    >>> from dae_theory import biases, training
    >>> x = biases.with_constant(jnp.array([[1.0], [3.0]]))
    >>> settings = training.Settings(
    ...     steps=300, width=8, learning_rate=0.02, denoiser=biases.with_biases(training.trained_denoiser)
    ... )
    >>> weights = training.train(jax.random.key(0), x, settings).weights
    >>> float(jnp.abs(weights.encoder[-1]).max()) > 0.1
    True
    """

    def known(rows: Array) -> Array:
        return with_constant(rows[..., :-1])

    return lambda weights, start, y: known(model(weights, start, known(y)))


def expected_loss(
    weights: Weights,
    x: ArrayLike,
    *,
    noise_std: ArrayLike,
    weight_decay: ArrayLike,
    samples: ArrayLike | None = None,
    memory: int = MEMORY,
) -> Float[Array, ""]:
    """`risk.expected_loss` of a net with biases: (1/n) Σ_i E‖f(x_i + σε) − x_i‖² + λ(‖W₁‖² + ‖b‖² + ‖W₂‖²), exactly.

    Args:
        weights: decoder and encoder, (d + 1, p) each; b is the encoder's last row.
        x: samples, (n, d), without the constant.
        noise_std: σ ≥ 0.
        weight_decay: λ ≥ 0.
        samples: how many rows of x count, from the first on; all by default.
        memory: as in `risk.expected_loss`.

    Raises:
        ValueError: bad weights, samples, σ or λ.

    >>> import jax.numpy as jnp
    >>> from dae_theory import biases, model
    >>> weights = model.Weights(decoder=jnp.array([[1.0], [0.0]]), encoder=jnp.array([[0.0], [2.0]]))
    >>> print(biases.expected_loss(weights, jnp.array([[1.0], [3.0]]), noise_std=0.5, weight_decay=0.0))  # f = 2
    1.0
    """
    weights, x, noise_std, weight_decay = _arguments(weights, x, noise_std, weight_decay)
    memory = checks.integer("memory", memory, 1)
    return shared_loss(weights, x, noise_std, weight_decay, shares(x, samples), memory)


@partial(jax.jit, static_argnames="memory")
@full_precision
def shared_loss(
    weights: Weights, x: Array, noise_std: Array, weight_decay: Array, share: Array, memory: int = MEMORY
) -> Float[Array, ""]:
    """`expected_loss` for arguments already checked; `share` is the weight of each row, (n,)."""
    weights, bias = _parts(weights)
    mean, covariance = x @ weights.encoder + bias[None, :], noise_std**2 * (weights.encoder.T @ weights.encoder)
    error = square(weights, mean, covariance, x, None, share, memory) + share @ jnp.sum(x**2, axis=1)
    return error + weight_decay * sum(jnp.sum(part**2) for part in (weights.encoder, weights.decoder, bias))


def mixture_loss(weights: Weights, mixture: GaussianMixture, *, noise_std: ArrayLike) -> Float[Array, ""]:
    """`risk.mixture_loss` of a net with biases: E‖f(x + σε) − x‖² under a mixture (4), exactly.

    Args:
        weights: decoder and encoder, (d + 1, p) each; b is the encoder's last row.
        mixture: of dimension d.
        noise_std: σ ≥ 0.

    Raises:
        ValueError: bad weights, mixture or σ.

    >>> import jax.numpy as jnp
    >>> from dae_theory import biases, data, model
    >>> mixture = data.GaussianMixture(jnp.ones(1), jnp.array([[2.0]]), jnp.array([[[0.5]]]))
    >>> weights = model.Weights(decoder=jnp.array([[1.0], [0.0]]), encoder=jnp.array([[0.0], [2.0]]))
    >>> print(biases.mixture_loss(weights, mixture, noise_std=0.1))  # f is the mean: the variance is left
    0.25
    """
    mixture = mixture.checked()
    weights, means, noise_std, _ = _arguments(weights, mixture.means, noise_std, 0.0)
    factors, proportions = (part.astype(means.dtype) for part in (mixture.factors, mixture.proportions))
    return proportions @ _mixture(*_parts(weights), means, factors, noise_std**2)


@jax.jit
@full_precision
def _mixture(weights: Weights, bias: Array, means: Array, factors: Array, variance: Array) -> Float[Array, " K"]:
    def component(mean: Array, factor: Array) -> Array:
        cross = jnp.sum((weights.encoder.T @ factor) * (weights.decoder.T @ factor), axis=1)
        own = jnp.sum(mean**2) + jnp.sum(factor**2)
        centre, covariance = moments(weights, mean, factor, variance)
        one = jnp.ones(1, mean.dtype)
        return own + square(weights, centre + bias[None, :], covariance, mean[None, :], cross, one, MEMORY)

    return jax.vmap(component)(means, factors)


def _arguments(weights: Any, x: Any, noise_std: Any, weight_decay: Any) -> tuple[Weights, Array, Array, Array]:
    """Weights of d + 1 rows, samples of d columns, σ and λ, checked."""
    x = checks.samples("x", x)
    if isinstance(weights, Weights) and jnp.ndim(weights.encoder) == 2 and weights.dimension != x.shape[1] + 1:
        raise Refusal(
            f"weights must have {x.shape[1] + 1} rows, one more than x has columns, for the bias; got"
            f" {weights.dimension}"
        )
    both, _, noise_std, weight_decay = arguments(weights, with_constant(x), noise_std, weight_decay)
    return both, x.astype(both.encoder.dtype), noise_std, weight_decay


def _parts(weights: Weights) -> tuple[Weights, Array]:
    """Weights of d rows, and the bias."""
    return Weights(weights.decoder[:-1], weights.encoder[:-1]), weights.encoder[-1]
