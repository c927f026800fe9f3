r"""[X13] Training as a flow: the gradient flow of the exact objective (6), on n samples or a mixture (n → ∞).

$$\dot W_l = -\frac{\partial L}{\partial W_l}, \quad l = 1, 2$$

Tied weights W = W₁ = W₂ follow Ẇ = −∂L(W, W)/∂W, the sum of both gradients, as one matrix does in training.

Gradient descent at rate η follows it at time t = ηk after k steps, to O(η); so does stochastic gradient descent, whose
noise adds O(√η). What holds along it, for any data:

- L never rises: L̇ = −‖∂L‖².
- The balance ‖w1_j‖² − ‖w2_j‖² of every neuron decays like e^(−4λt): the error of f does not change under c·w1_j,
  w2_j/c, so weight decay alone moves it.
- A small balanced pair w1 = εu, w2 = εv, v = g(u)/‖g(u)‖, at a stationary u of ‖g‖ grows in length at the rate
  2(‖g(u)‖ − λ), g of [X5] (`certify.newcomer_pull`): the most pulled direction comes first. A tied neuron εu at a
  stationary u of ⟨g(u), u⟩ grows at the rate 4(⟨g(u), u⟩ − λ).
"""

from functools import partial
from typing import Any

import diffrax
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int

from dae_theory import checks, risk
from dae_theory.checks import Refusal
from dae_theory.data import GaussianMixture
from dae_theory.model import Weights


@struct.dataclass
class Flow:
    """A gradient flow at T times.

    Attributes:
        times: t, shape (T,).
        weights: decoder and encoder at the times, (T, d, p) each; NaN where the solve did not arrive.
        loss: the objective (6) at the times, (T,); on a mixture E‖f(x + σε) − x‖² + λ(‖W₁‖² + ‖W₂‖²).
        converged: whether the solve arrived at the last time within its budget of steps.
        steps: steps taken, the rejected ones included.
    """

    times: Float[Array, "*members T"]
    weights: Weights
    loss: Float[Array, "*members T"]
    converged: Bool[Array, "*members"]
    steps: Int[Array, "*members"]


def gradient_flow(
    weights: Weights,
    x_or_mixture: Any,
    *,
    noise_std: ArrayLike,
    weight_decay: ArrayLike,
    times: Any,
    tolerance: ArrayLike = 1e-6,
    tied: bool = False,
    samples: ArrayLike | None = None,
    max_steps: int = 100_000,
) -> Flow:
    """The flow of the module from `weights` at t = 0: Tsitouras' 5(4) pair with an adaptive step (diffrax).

    No noise is sampled. A solve that runs out of steps, or whose weights blow up, is data: `converged` is False and the
    weights that it did not reach are NaN. Works under jit and vmap over members; forward-mode derivatives only.

    Args:
        weights: decoder and encoder at t = 0, (d, p) each, float64. Columns that are zero in both stay zero.
        x_or_mixture: samples (n, d), float64; or a `data.GaussianMixture`, whose flow is the limit n → ∞.
        noise_std: σ ≥ 0.
        weight_decay: λ ≥ 0 of (6).
        times: t ≥ 0 at which the weights are kept, increasing, (T,).
        tolerance: > 0, of the error of a step in every weight, relative to its size and to the root mean square of the
            initial weights that are not zero.
        tied: one matrix W = W₁ = W₂, moved by the gradient of L(W, W).
        samples: how many rows of x count, from the first on (traced or not); rows behind them are padding.
        max_steps: the budget.

    Raises:
        ValueError: bad weights, samples, mixture, σ or λ; single precision; times that are negative or do not increase;
            tolerance ≤ 0; `tied` weights that differ; `samples` of a mixture.

    >>> import jax.numpy as jnp
    >>> from dae_theory import dynamics, model, theory
    >>> x, numbers = jnp.array([[2.0, 0.0]]), {"noise_std": 0.1, "weight_decay": 0.1}
    >>> start = model.Weights(decoder=0.1 * x.T, encoder=0.1 * x.T)
    >>> flow = dynamics.gradient_flow(start, x, times=[0.0, 20.0], **numbers)
    >>> print(flow.converged, flow.weights.encoder[:, 0, 0].round(4))
    True [0.2    0.9862]
    >>> print(theory.memorizing_weights(x, **numbers).encoder[0].round(4))  # where it ends
    [0.9862]
    """
    source = _source(weights, x_or_mixture, samples)
    rows = source.means if isinstance(source, GaussianMixture) else source
    weights, rows, noise_std, weight_decay = risk.arguments(weights, rows, noise_std, weight_decay)
    if rows.dtype != jnp.float64:
        raise Refusal(
            f"weights and x_or_mixture must be float64 for a flow (jax_enable_x64, not both float32); got {rows.dtype}"
        )
    checks.positive("tolerance", tolerance)
    checks.shape("tolerance", tolerance, ())
    max_steps = checks.integer("max_steps", max_steps, 1)
    if tied and not checks.is_traced(weights.encoder) and not checks.is_traced(weights.decoder):
        gap = np.max(np.abs(np.asarray(weights.encoder) - np.asarray(weights.decoder)))
        if gap > 0:
            raise Refusal(f"weights must have encoder = decoder for a tied flow; they differ by up to {gap:.3g}")
    if isinstance(source, GaussianMixture):
        source, share = jax.tree.map(lambda leaf: leaf.astype(rows.dtype), source), None
    else:
        source, share = rows, risk.shares(rows, samples)
    numbers = noise_std, weight_decay, _times(times), jnp.asarray(tolerance, rows.dtype)
    return _flow(weights, source, share, *numbers, tied=tied, max_steps=max_steps)


def _source(weights: Weights, x_or_mixture: Any, samples: Any) -> Any:
    """The samples, or the checked mixture."""
    if isinstance(x_or_mixture, GaussianMixture):
        source = x_or_mixture.checked()
        dimension = source.dimension
        if samples is not None:
            raise Refusal(f"samples counts rows of x, and a mixture has none; got {samples}")
    else:
        source = checks.samples("x_or_mixture", x_or_mixture)
        dimension = source.shape[1]
    if isinstance(weights, Weights) and np.ndim(weights.encoder) == 2 and weights.dimension != dimension:
        raise Refusal(
            f"x_or_mixture must have dimension {weights.dimension}, as the weights have rows; got {dimension}"
        )
    return source


def _times(times: Any) -> Float[Array, " T"]:
    times = checks.array("times", times, 1).astype(jnp.float64)
    checks.non_negative("times", times)
    if not checks.is_traced(times):
        listed = np.asarray(times)
        if np.any(listed[1:] <= listed[:-1]):
            raise Refusal(f"times must increase; got {listed.tolist()}")
    return times


def _controller(start: tuple[Array, ...], tolerance: Array) -> diffrax.PIDController:
    """Steps whose error is below `tolerance` of each entry, and of the initial entries' root mean square."""

    def largest(matrices: tuple[Array, ...]) -> Array:
        """The norm of errors: with it zero columns, which have none, do not count."""
        return jnp.max(jnp.stack([jnp.max(jnp.abs(matrix)) for matrix in matrices]))

    entries, _ = jax.flatten_util.ravel_pytree(start)
    size = jnp.sqrt(jnp.sum(entries**2) / jnp.maximum(jnp.sum(entries != 0), 1).astype(entries.dtype))
    return diffrax.PIDController(
        rtol=tolerance,
        atol=tolerance * jnp.where(size > 0, size, 1),
        pcoeff=0.3,  # steps are bounded by stability near a minimum: a pure integral control would be rejected there
        icoeff=0.4,
        norm=largest,
    )


@partial(jax.jit, static_argnames=("tied", "max_steps"))
def _flow(
    weights: Weights,
    source: Any,
    share: Array | None,
    noise_std: Array,
    weight_decay: Array,
    times: Array,
    tolerance: Array,
    *,
    tied: bool,
    max_steps: int,
) -> Flow:
    def as_weights(matrices: tuple[Array, ...]) -> Weights:
        return Weights(decoder=matrices[0], encoder=matrices[-1])

    def objective(matrices: tuple[Array, ...]) -> Array:
        here = as_weights(matrices)
        if share is not None:
            return risk.shared_loss(here, source, noise_std, weight_decay, share)
        penalty = jnp.sum(here.encoder**2) + jnp.sum(here.decoder**2)
        return risk.mixture_loss(here, source, noise_std=noise_std) + weight_decay * penalty

    def velocity(_, matrices: tuple[Array, ...], __) -> tuple[Array, ...]:
        return jax.tree.map(jnp.negative, jax.grad(objective)(matrices))

    start = (weights.encoder,) if tied else (weights.decoder, weights.encoder)
    with jax.numpy_dtype_promotion("standard"):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(velocity),
            diffrax.Tsit5(),
            t0=jnp.zeros((), times.dtype),
            t1=times[-1],
            dt0=None,
            y0=start,
            saveat=diffrax.SaveAt(ts=times),
            stepsize_controller=_controller(start, tolerance),
            adjoint=diffrax.ForwardMode(),
            max_steps=max_steps,
            throw=False,
        )
    path = solution.ys
    assert path is not None
    finite = jnp.stack([jnp.all(jnp.isfinite(matrix), axis=(1, 2)) for matrix in path])
    reached = jnp.all(finite, axis=0)  # diffrax fills what it did not reach with infinity
    kept = jax.tree.map(lambda matrix: jnp.where(reached[:, None, None], matrix, jnp.nan), as_weights(path))
    loss = jnp.where(reached, jax.lax.map(objective, path), jnp.nan)
    converged = (solution.result == diffrax.RESULTS.successful) & jnp.all(reached)
    return Flow(times, kept, loss, converged, jnp.asarray(solution.stats["num_steps"]))
