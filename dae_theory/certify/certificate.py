"""Certificates: is a point a minimizer of the objective (6), locally, and over all widths?

First order    the gradient of the exact objective
second order   its Hessian over all neurons that are not zero, and probes of finite size where that is flat
beyond         the pull [X5] on a new neuron, see `newcomers`: with zero columns it decides local minimality too
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike
from jaxtyping import Float

from dae_theory import checks
from dae_theory.certify import curvature
from dae_theory.certify.newcomers import Newcomer, even_directions, strongest_newcomer
from dae_theory.certify.objective import Objective, checked, norm
from dae_theory.checks import Refusal
from dae_theory.model import Weights

VERDICTS = (
    "not stationary",
    "saddle",
    "local minimum",
    "local minimum; a new neuron would grow",
    "global minimum (no growing neuron found in N starts)",
)
NOT_STATIONARY, SADDLE, LOCAL, LOCAL_IN_WIDTH, GLOBAL = range(len(VERDICTS))

PROBE = 1e-3  # length of a probe: no certificate calls a point a local minimum that such a step is seen to improve
PROBES = 31  # with the lowest eigenvector and both signs a multiple of 8, a batch
FLAT = 1e-7  # curvature over the largest one, up to which a direction counts as flat
GROWING = 1e-6  # relative excess of G over λ from which on a newcomer counts as growing
LARGEST = 4000  # weights 2dp whose Hessian is made: 128 MB in float64


@struct.dataclass
class Certificate:
    """What is known about a point of the objective (6); made by `certify`.

    Attributes:
        loss: L of (6).
        gradient_norm: ‖∂L‖ over both matrices.
        relative_gradient: the same over ‖∂ E‖f‖²‖ + ‖∂ 2E fᵀx‖ + ‖∂ λ‖W‖²‖, the parts that cancel.
        smallest_curvature: the smallest eigenvalue of the Hessian over all neurons that are not zero and, where there
            are zero ones, 2(λ − G), the curvature along the best newcomer.
        largest_curvature: its largest eigenvalue.
        flat_directions: how many eigenvalues are within 1e-7 of the largest, in absolute value.
        predicted_flat_directions: how many the model's symmetries account for, see `curvature`.
        zero_neurons: how many neurons are zero, or so small that a probe may turn them anywhere (‖w1_j‖ ≤ 1e-3,
            ‖w1_j‖‖w2_j‖ ≤ 1e-6).
        growth: G/λ of [X5], with G the largest pull found; infinite for λ = 0 unless nothing pulls. At a stationary
            point no width has a loss below `loss`/max(growth, 1), as far as G is the maximum.
        newcomer: the direction that is pulled most, and how it was found.
        proven: no newcomer grows, by a bound over the whole sphere; otherwise growth ≤ 1 is the result of a search. A
            stationary neuron is pulled by λ itself, below the bound, so that the proof is for the empty network alone.
        code: index into `VERDICTS`.
    """

    loss: Float[Array, "*members"]
    gradient_norm: Float[Array, "*members"]
    relative_gradient: Float[Array, "*members"]
    smallest_curvature: Float[Array, "*members"]
    largest_curvature: Float[Array, "*members"]
    flat_directions: Array
    predicted_flat_directions: Array
    zero_neurons: Array
    growth: Float[Array, "*members"]
    newcomer: Newcomer
    proven: Array
    code: Array

    @property
    def verdict(self) -> Any:
        """The verdict in words; for a batch of certificates an array of them."""
        words = np.asarray([text.replace(" N ", f" {self.newcomer.starts} ") for text in VERDICTS])[
            np.asarray(self.code)
        ]
        return str(words) if words.ndim == 0 else words


def certify(
    weights: Weights,
    x: ArrayLike,
    *,
    noise_std: ArrayLike,
    weight_decay: ArrayLike,
    samples: ArrayLike | None = None,
    neurons: ArrayLike | None = None,
    tolerance: float = 1e-8,
    starts: int = 32,
) -> Certificate:
    """Certificate of a point of the exact objective (6).

    Verdicts, in the order in which they are given:

    - `not stationary`: the gradient is above `tolerance`, or a zero encoder column has a decoder so large that a
      pull may change the loss in first order (a kink; a pull against the decoder is not told from one along it);
    - `saddle`: a negative curvature, a probe of length 1e-3 that lowers the loss by more than rounding and gradient can
      explain (so also at the bottom of a basin narrower than that), or a zero neuron that grows;
    - `global minimum (no growing neuron found in N starts)`: no direction is pulled by more than λ, so by convexity in
      the measure of neurons no network of any width has a smaller loss; proven only where `proven` says so;
    - `local minimum; a new neuron would grow`: a wider network has a smaller loss;
    - `local minimum`: the gradient left is too large to tell whether a newcomer grows.

    Works under jit and vmap. The Hessian has (2dp)² entries and as many columns of exact second derivatives; it and the
    growth of newcomers are decompositions and loops, so on several CPU devices members go one by one (`group=1` in
    `ensemble.run`).

    Args:
        weights: decoder and encoder, (d, p) each, float64.
        x: samples, (n, d).
        noise_std: σ > 0; at σ = 0 the objective has kinks everywhere.
        weight_decay: λ ≥ 0.
        samples: how many rows of x count, from the first on; all by default.
        neurons: how many columns are the net's own, from the first on; all by default. Those behind are padding and
            must be zero: they are no zero neurons that could grow.
        tolerance: gradient norm up to which a point counts as stationary.
        starts: ascents in the search for a growing neuron, ≥ 1.

    Raises:
        ValueError: bad weights, samples, σ, λ, tolerance or starts, single precision, or more than 4000 weights.

    >>> import jax.numpy as jnp
    >>> from dae_theory import certify, theory
    >>> x = jnp.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    >>> numbers = {"noise_std": 0.1, "weight_decay": 0.1}
    >>> certificate = certify.certify(theory.memorizing_weights(x, **numbers), x, starts=4, **numbers)
    >>> print(certificate.gradient_norm < 1e-12)
    True
    >>> print(certificate.verdict)
    global minimum (no growing neuron found in 4 starts)
    """
    weights, objective = checked(weights, x, noise_std=noise_std, weight_decay=weight_decay, samples=samples)
    checks.positive("tolerance", tolerance)
    checks.shape("tolerance", tolerance, ())
    starts = checks.integer("starts", starts, 1)
    if 2 * weights.encoder.size > LARGEST:
        raise Refusal(
            f"weights must have at most {LARGEST} entries, whose Hessian fits in memory; got {2 * weights.encoder.size}"
        )
    return _certify(weights, objective, _own(weights, neurons), tolerance, starts)


def _own(weights: Weights, neurons: ArrayLike | None) -> Array:
    """Which columns are the net's own, (p,)."""
    column = jnp.arange(weights.width)
    if neurons is None:
        return column < weights.width
    checks.count("neurons", neurons, 0, weights.width, "the columns of the weights")
    own = column < neurons
    behind = jnp.where(own[None, :], 0, jnp.abs(weights.encoder) + jnp.abs(weights.decoder))
    if not checks.is_traced(behind) and np.any(np.asarray(behind) > 0):
        raise Refusal(f"neurons must leave only zero columns behind; got {neurons}, and columns behind that are not")
    return own


@partial(jax.jit, static_argnames="starts")
def _certify(weights: Weights, objective: Objective, own: Array, tolerance: ArrayLike, starts: int) -> Certificate:
    weight_decay = objective.weight_decay
    loss, gradient = objective.value_and_grad(weights)
    steepness = norm(gradient)
    scale = loss + objective.energy

    first, second = (jnp.linalg.norm(part, axis=0) for part in (weights.encoder, weights.decoder))
    small = (first <= PROBE) & (first * second <= PROBE**2)  # a probe may turn these anywhere
    zero = small & own
    spectrum = _spectrum(objective, weights, small)
    curvatures, free, largest = spectrum.values, spectrum.free, spectrum.largest
    rounding = 64 * jnp.finfo(loss.dtype).eps * scale
    improves = _lowest(objective, weights, spectrum) < loss - rounding - PROBE * steepness

    newcomer = strongest_newcomer(weights, objective, loss, starts)
    has_decay = weight_decay > 0
    pulls = newcomer.pull > scale * 1e-12
    growth = jnp.where(has_decay, newcomer.pull / jnp.where(has_decay, weight_decay, 1), jnp.where(pulls, jnp.inf, 0.0))
    grows = growth > 1 + GROWING
    surely = jnp.where(has_decay, newcomer.pull > weight_decay * (1 + GROWING) + steepness, pulls)

    kink = jnp.any((first == 0) & (2 * second * newcomer.pull > tolerance)) & pulls  # slopes are −2⟨g(u), w2_j⟩
    stationary = (steepness <= tolerance) & ~kink
    lowest = jnp.where(jnp.any(~small), curvatures[0], jnp.inf)  # those of zero neurons stand at the upper end
    smallest = jnp.where(jnp.any(zero), jnp.minimum(lowest, 2 * (weight_decay - newcomer.pull)), lowest)
    saddle = (lowest < -FLAT * largest) | improves | (jnp.any(zero) & surely)
    minimum = jnp.where(surely, LOCAL_IN_WIDTH, jnp.where(grows, LOCAL, GLOBAL))
    return Certificate(
        loss=loss,
        gradient_norm=steepness,
        relative_gradient=steepness / _parts(weights, objective, gradient),
        smallest_curvature=smallest,
        largest_curvature=jnp.where(jnp.any(~small), jnp.max(jnp.where(free, curvatures, -jnp.inf)), smallest),
        flat_directions=jnp.sum((spectrum.flat & free).astype(jnp.int32)),
        predicted_flat_directions=curvature.predicted_flat_directions(
            jax.tree.map(lambda part: jnp.where(small[None, :], 0, part), weights), objective
        ),
        zero_neurons=jnp.sum(zero.astype(jnp.int32)),
        growth=growth,
        newcomer=newcomer,
        proven=newcomer.bound <= weight_decay,
        code=jnp.where(stationary, jnp.where(saddle, SADDLE, minimum), NOT_STATIONARY),
    )


@struct.dataclass
class _Spectrum:
    """Eigenvalues of the Hessian, ascending, its eigenvectors as columns, and which belong to neurons that count."""

    values: Array
    vectors: Array
    free: Array

    @property
    def largest(self) -> Array:
        return jnp.max(jnp.abs(self.values))

    @property
    def flat(self) -> Array:
        return jnp.abs(self.values) <= FLAT * self.largest


def _spectrum(objective: Objective, weights: Weights, zero: Array) -> _Spectrum:
    """The spectrum over neurons that are not zero.

    At a zero neuron the objective has no second derivative. Its rows are replaced by a large multiple of the identity,
    which keeps its eigenvectors at the upper end, apart from all others.
    """
    matrix = curvature.hessian(objective.loss, weights)
    counted = jnp.tile(~zero, 2 * weights.dimension)  # neurons are the last axis of both matrices
    both = counted[:, None] & counted[None, :]
    matrix = jnp.where(both, matrix, 0)
    aside = 2 * jnp.sqrt(jnp.sum(matrix**2)) + 1
    values, vectors = jnp.linalg.eigh(matrix + jnp.diag(jnp.where(counted, 0, aside)))
    free = jnp.arange(values.size) < jnp.sum(counted.astype(jnp.int32))
    return _Spectrum(jnp.where(free, values, 0), vectors, free)


def _lowest(objective: Objective, weights: Weights, spectrum: _Spectrum) -> Array:
    """The lowest loss among probes of length 1e-3.

    Probes go both ways along the lowest eigenvector, mixtures of the flat ones, and mixtures of all.
    """
    center, rebuild = ravel_pytree(weights)
    mixtures = jnp.asarray(even_directions(PROBES, center.size), center.dtype)
    flat = spectrum.flat.astype(center.dtype)[None, :]
    among = jnp.concatenate([mixtures[: PROBES // 2] * flat, mixtures[PROBES // 2 :]])
    lowest = jnp.zeros((1, center.size), center.dtype).at[0, 0].set(1)
    coefficients = jnp.concatenate([lowest, among]) * spectrum.free.astype(center.dtype)[None, :]
    lengths = jnp.linalg.norm(coefficients, axis=1, keepdims=True)
    directions = (coefficients / jnp.where(lengths > 0, lengths, 1)) @ spectrum.vectors.T
    probes = center[None, :] + PROBE * jnp.concatenate([directions, -directions])
    return jnp.min(jax.lax.map(lambda values: objective.loss(rebuild(values)), probes, batch_size=8))


def _parts(weights: Weights, objective: Objective, gradient: Weights) -> Array:
    """‖∂ E‖f‖²‖ + ‖∂ 2E fᵀx‖ + ‖∂ λ‖W‖²‖."""
    pull, decay = jax.grad(objective.overlap)(weights), jax.grad(objective.decay)(weights)
    energy = jax.tree.map(lambda whole, one, other: whole + one - other, gradient, pull, decay)
    parts = norm(energy) + norm(pull) + norm(decay)
    return jnp.where(parts > 0, parts, 1)
