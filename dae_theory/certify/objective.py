"""The exact objective (6) of one data set: what every search for a minimizer and every certificate is about.

L(W₂, W₁) = Σ_i ω_i E_ε ‖f(x_i + σε) − x_i‖² + λ(‖W₁‖²_F + ‖W₂‖²_F),   ω_i = 1/n for the rows that count
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from dae_theory import checks, gaussian, risk
from dae_theory.checks import Refusal
from dae_theory.model import Weights


@struct.dataclass
class Objective:
    """(6) for given samples, noise and decay; made by `checked`.

    Attributes:
        x: samples, and padding behind them, (n, d).
        noise_std: σ > 0; at σ = 0 the objective has kinks everywhere.
        weight_decay: λ ≥ 0.
        share: ω, 1/n for the rows of x that count and 0 for padding, (n,).
    """

    x: Float[Array, "*members n d"]
    noise_std: Float[Array, "*members"]
    weight_decay: Float[Array, "*members"]
    share: Float[Array, "*members n"]

    def loss(self, weights: Weights) -> Float[Array, ""]:
        """L."""
        return risk.shared_loss(weights, self.x, self.noise_std, self.weight_decay, self.share)

    def value_and_grad(self, weights: Weights) -> tuple[Array, Weights]:
        """L and ∂L."""
        return jax.value_and_grad(self.loss)(weights)

    def decay(self, weights: Weights) -> Float[Array, ""]:
        """λ(‖W₁‖² + ‖W₂‖²)."""
        return self.weight_decay * (jnp.sum(weights.encoder**2) + jnp.sum(weights.decoder**2))

    def overlap(self, weights: Weights) -> Float[Array, ""]:
        """2 Σ_i ω_i E fᵀx_i."""
        variances = self.noise_std**2 * jnp.sum(weights.encoder**2, axis=0)[None, :]
        hidden = gaussian.relu(gaussian.marginal(self.x @ weights.encoder, variances)).first
        return 2 * (self.share @ jnp.sum((self.x @ weights.decoder) * hidden, axis=1))

    @property
    def energy(self) -> Float[Array, ""]:
        """Σ_i ω_i ‖x_i‖², L at W = 0."""
        return self.share @ jnp.sum(self.x**2, axis=1)

    @property
    def spread(self) -> Float[Array, ""]:
        """λ_max(Σ_i ω_i x_i x_iᵀ), by the smaller of the two Gram matrices."""
        rows = self.x * jnp.sqrt(self.share)[:, None]
        count, dimension = rows.shape
        return jnp.linalg.eigvalsh(rows.T @ rows if dimension <= count else rows @ rows.T)[-1]


def checked(
    weights: Weights,
    x: ArrayLike,
    *,
    noise_std: ArrayLike,
    weight_decay: ArrayLike,
    samples: ArrayLike | None = None,
    double: bool = True,
) -> tuple[Weights, Objective]:
    """Weights and the objective on the same footing: one dtype, everything checked.

    Args:
        weights: decoder and encoder, (d, p) each.
        x: samples, (n, d).
        noise_std: σ > 0.
        weight_decay: λ ≥ 0.
        samples: how many rows of x count, from the first on; all by default.
        double: whether single precision is refused.

    Raises:
        ValueError: bad weights, samples, σ or λ, σ = 0, or single precision.
    """
    weights, x, noise_std, weight_decay = risk.arguments(weights, x, noise_std, weight_decay)
    checks.positive("noise_std", noise_std)
    if double and x.dtype != jnp.float64:
        raise Refusal(
            f"weights and x must be float64 for a certificate (jax_enable_x64, and no float32 in both); got {x.dtype}"
        )
    return weights, Objective(x, noise_std, weight_decay, risk.shares(x, samples))


def norm(tree: Any) -> Array:
    """‖·‖₂ over all leaves."""
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))
