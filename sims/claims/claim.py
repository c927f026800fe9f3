"""How a claim is judged, and the exact objective on which most of them are measured.

A tolerance is never chosen to fit. It is rounding (`exact`), five standard errors of the claim's own draws (`sampled`),
half a unit of the last digit that is claimed (`rounded`), or zero, for an inequality.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dae_theory import risk
from dae_theory.compare import STANDARD_ERRORS, Relation, Row
from dae_theory.model import Weights, pad_width
from dae_theory.randomness import derive

ACCURACY = 1e-12  # of the closed forms in float64: absolute where values are below 1, relative above

# Every problem is padded to these shapes, so that one compilation of the exact objective serves all claims.
ROWS, DIMENSION, WIDTH = 60, 10, 6


def within(
    label: str,
    claim: str,
    predicted: Any,
    measured: Any,
    tolerance: Any,
    *,
    relation: Relation = "=",
    sem: float | None = None,
    printed: float | None = None,
    erratum: int | None = None,
) -> Row:
    """measured RELATION predicted up to an absolute tolerance; a measurement that is no number differs.

    Where the printed form's number stands beside, the row agrees only if the corrected form holds and the printed one
    is further off than the tolerance; it is undecided where both hold.
    """
    predicted, measured, tolerance = float(predicted), float(measured), float(tolerance)
    gap = measured - predicted
    holds = {"=": abs(gap), "≤": gap, "≥": -gap}[relation] <= tolerance
    told_apart = printed is None or abs(measured - printed) > tolerance
    verdict = ("agrees" if told_apart else "undecided") if holds else "differs"
    return Row(
        claim,
        label,
        measured,
        predicted,
        sem=sem,
        tolerance=tolerance,
        relation=relation,
        printed=None if printed is None else float(printed),
        erratum=erratum,
        verdict=verdict,
    )


def exact(label: str, claim: str, predicted: Any, measured: Any, *, size: Any = 1.0, **options: Any) -> Row:
    """Equality up to rounding, for numbers or arrays; of an array the entry that is furthest off is shown.

    Args:
        label: as in `Row`.
        claim: as in `Row`.
        predicted: theory.
        measured: measurement, broadcast against theory.
        size: of the terms whose rounding enters, where they are larger than 1 and than the result; for the solution of
            an equation, over the equation's slope.
        **options: other fields of the row.
    """
    predicted, measured = np.broadcast_arrays(np.asarray(predicted, float), np.asarray(measured, float))
    tolerance = ACCURACY * np.maximum(np.abs(predicted), size)
    excess = np.abs(measured - predicted) / tolerance
    worst = np.unravel_index(np.argmax(np.where(np.isnan(excess), np.inf, excess)), predicted.shape)
    return within(label, claim, predicted[worst], measured[worst], tolerance[worst], **options)


def sampled(label: str, claim: str, predicted: Any, draws: Any, **options: Any) -> Row:
    """Mean of independent draws (N,), within five of its standard errors."""
    draws = np.asarray(draws, float)
    return estimated(label, claim, predicted, draws.mean(), draws.std(ddof=1) / np.sqrt(draws.size), **options)


def estimated(label: str, claim: str, predicted: Any, measured: Any, sem: Any, **options: Any) -> Row:
    """An estimate with its standard error."""
    sem = float(sem)
    return within(label, claim, predicted, measured, STANDARD_ERRORS * sem, sem=sem, **options)


def rounded(label: str, claim: str, claimed: str, measured: Any) -> Row:
    """A number that is claimed to as many digits as it is written with."""
    exponent = Decimal(claimed).as_tuple().exponent
    return within(label, claim, claimed, measured, 0.5 * 10.0 ** int(exponent))


def bounded(label: str, claim: str, measured: Any, relation: Relation, bound: Any, **options: Any) -> Row:
    """An inequality, measured ≤ bound or measured ≥ bound."""
    return within(label, claim, bound, measured, options.pop("tolerance", 0.0), relation=relation, **options)


def draw(key: jax.Array, purpose: str, *indices: int) -> np.random.Generator:
    """NumPy's generator of one purpose under a key: the draws are used in NumPy, and need no compilation there."""
    return np.random.default_rng(np.asarray(jax.random.key_data(derive(key, purpose, *indices))))


@dataclass(frozen=True)
class Problem:
    """The objective (6), exactly, on samples (n ≤ 60, 10) for weights (10, p ≤ 6).

    Attributes:
        x: samples.
        noise_std: σ.
        weight_decay: λ.
    """

    x: Any
    noise_std: float
    weight_decay: float

    @property
    def numbers(self) -> dict[str, Any]:
        """σ and λ, as the package's functions take them."""
        return {"noise_std": self.noise_std, "weight_decay": self.weight_decay}

    @cached_property
    def _rows(self) -> jax.Array:
        return jnp.pad(jnp.asarray(self.x), ((0, ROWS - len(self.x)), (0, 0)))

    def _both(self, weights: Weights) -> tuple[jax.Array, Weights]:
        padded = pad_width(weights, WIDTH)
        return _value_and_gradient(padded, self._rows, len(self.x), self.noise_std, self.weight_decay)

    def loss(self, weights: Weights) -> float:
        """L(W₂, W₁) of (6)."""
        return float(self._both(weights)[0])

    def gradient(self, weights: Weights) -> np.ndarray:
        """∂L/∂(W₂, W₁), shape (2, d, p)."""
        return np.stack([np.asarray(part) for part in (_parts(self._both(weights)[1]))])[:, :, : weights.width]

    def steepness(self, weights: Weights) -> float:
        """‖∂L‖."""
        return float(np.linalg.norm(self.gradient(weights)))


@jax.jit
def _value_and_gradient(
    weights: Weights, x: Any, samples: Any, noise_std: Any, weight_decay: Any
) -> tuple[jax.Array, Weights]:
    def objective(weights: Weights) -> jax.Array:
        return risk.expected_loss(weights, x, noise_std=noise_std, weight_decay=weight_decay, samples=samples)

    return jax.value_and_grad(objective)(weights)


def _parts(weights: Weights) -> tuple[Any, Any]:
    return weights.decoder, weights.encoder


def stack(weights: Weights) -> np.ndarray:
    """(W₂, W₁) as one array (2, d, p)."""
    return np.stack([np.asarray(part) for part in _parts(weights)])


def unstack(values: np.ndarray) -> Weights:
    """The inverse of `stack`."""
    decoder, encoder = np.asarray(values, float)
    return Weights(jnp.asarray(decoder), jnp.asarray(encoder))


def derivative(function: Callable[[float], Any], step: float) -> Any:
    """f'(0) by central differences at two distances, exact for polynomials up to degree 4.

    With sure gates the objective is such a polynomial in the weights, and its gradient one of degree 3.
    """
    near, far = function(step) - function(-step), function(2 * step) - function(-2 * step)
    return (8 * near - far) / (12 * step)


def vertex(function: Callable[[float], float], step: float) -> float:
    """Where a quadratic polynomial f(s), given for s ≥ 0, has its extremum."""
    f0, f1, f2 = (function(k * step) for k in range(3))
    return step * (3 * f0 - 4 * f1 + f2) / (2 * (f0 - 2 * f1 + f2))


def slope(function: Callable[[float], float], step: float) -> float:
    """f'(0) of a quadratic polynomial f(s), given for s ≥ 0."""
    f0, f1, f2 = (function(k * step) for k in range(3))
    return (4 * f1 - f2 - 3 * f0) / (2 * step)
