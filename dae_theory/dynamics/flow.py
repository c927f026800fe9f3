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

In one case the whole flow is known. Where x is symmetric about 0 (a centred Gaussian, pairs ±x_i) and neurons come in
mirrored pairs, (v, w) and (−v, −w), they stay so and f = V Wᵀy is linear. This is the net of Saxe et al. (2014), in
which from balanced weights along the principal directions, of energies e_j, each gain q_j = v_j w_j grows by itself:

$$\dot q_j = 2 q_j (e_j - 2\lambda - (e_j + \sigma^2) q_j), \qquad
q_j(t) = \frac{q_j^\infty}{1 + (q_j^\infty/q_j(0) - 1)\, e^{-2 (e_j - 2\lambda) t}}, \quad
q_j^\infty = \frac{e_j - 2\lambda}{e_j + \sigma^2}.$$
"""

from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int

from dae_theory import biases, checks, risk
from dae_theory.checks import Refusal
from dae_theory.data import GaussianMixture
from dae_theory.dynamics import solver
from dae_theory.model import Weights

MAX_STEPS = 100_000
MAX_DENSE_STEPS = 4096  # every one of them is held, with its stages


@struct.dataclass
class Flow:
    """A gradient flow at T times.

    Attributes:
        times: t, shape (T,).
        weights: decoder and encoder at the times, (T, d, p) each; NaN where the flow did not arrive: behind its end, or
            where the solve failed.
        loss: the objective (6) at the times, (T,); on a mixture E‖f(x + σε) − x‖² + λ(‖W₁‖² + ‖W₂‖²).
        converged: whether the solve arrived at its end (the last time, or an event) within its budget of steps.
        steps: steps taken, the rejected ones included.
        end: the time at which it ended; NaN where the solve failed.
        last: the weights at `end`, (d, p) each.
        crossed: whether `until` ended it.
        stationary: whether `stationarity` ended it.
        path: what `at` reads, with `dense`; None without.
    """

    times: Float[Array, "*members T"]
    weights: Weights
    loss: Float[Array, "*members T"]
    converged: Bool[Array, "*members"]
    steps: Int[Array, "*members"]
    end: Float[Array, "*members"]
    last: Weights
    crossed: Bool[Array, "*members"]
    stationary: Bool[Array, "*members"]
    path: diffrax.DenseInterpolation | None = None

    def at(self, time: ArrayLike) -> Weights:
        """The weights at any time from 0 to `end`, (d, p) each, to the solver's order; NaN elsewhere.

        One flow and one time: `jax.vmap` for many.

        Raises:
            ValueError: the flow was solved without `dense`, or holds several members.
        """
        if self.path is None:
            raise Refusal("at needs a flow solved with dense=True; got one without its path")
        checks.shape("time", time, ())
        if jnp.ndim(self.end):
            raise Refusal(f"at reads one flow, by jax.vmap for many; got members of shape {jnp.shape(self.end)}")
        time = jnp.asarray(time, self.times.dtype)
        inside = (time >= 0) & (time <= self.end)
        with jax.numpy_dtype_promotion("standard"):
            matrices = self.path.evaluate(jnp.where(inside, time, 0))
        return jax.tree.map(lambda matrix: jnp.where(inside, matrix, jnp.nan), solver.as_weights(matrices))


def gradient_flow(
    weights: Weights,
    x_or_mixture: Any,
    *,
    noise_std: ArrayLike,
    weight_decay: ArrayLike,
    times: Any,
    tolerance: ArrayLike = 1e-6,
    tied: bool = False,
    with_biases: bool = False,
    samples: ArrayLike | None = None,
    until: Callable[[Weights], Array] | None = None,
    stationarity: ArrayLike | None = None,
    dense: bool = False,
    max_steps: int | None = None,
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
        with_biases: nets of [X15], weights of d + 1 rows whose last one in the encoder is the bias, under the losses of
            `biases`. That of the decoder, which nothing reads, stays as it is. Not with `tied`.
        samples: how many rows of x count, from the first on (traced or not); rows behind them are padding.
        until: weights -> one number, differentiable; the flow ends where it changes its sign, within a step at a time
            found by Newton's method to a hundredth of the tolerance. A sign that it begins with is no change.
        stationarity: > 0; the flow ends where ‖∂L‖, of all weights, falls to this. One that begins there goes on.
        dense: keep the path between the times too, for `Flow.at`; each step of the budget takes memory for nine nets.
        max_steps: the budget, 100,000 by default, 4,096 with `dense`.

    Raises:
        ValueError: bad weights, samples, mixture, σ or λ; single precision; times that are negative or do not increase;
            tolerance or stationarity ≤ 0; `tied` weights that differ; `samples` of a mixture; `until` that does not
            give one number.

    >>> import jax.numpy as jnp
    >>> from dae_theory import dynamics, model, theory
    >>> x, numbers = jnp.array([[2.0, 0.0]]), {"noise_std": 0.1, "weight_decay": 0.1}
    >>> start = model.Weights(decoder=0.1 * x.T, encoder=0.1 * x.T)
    >>> flow = dynamics.gradient_flow(start, x, times=[0.0, 20.0], **numbers)
    >>> print(flow.converged, flow.weights.encoder[:, 0, 0].round(4))
    True [0.2    0.9862]
    >>> print(theory.memorizing_weights(x, **numbers).encoder[0].round(4))  # where it ends
    [0.9862]
    >>> half = dynamics.gradient_flow(start, x, times=[20.0], until=lambda w: w.encoder[0, 0] - 0.5, **numbers)
    >>> print(half.crossed, half.end.round(3), half.last.encoder[0].round(4))
    True 0.134 [0.5]
    """
    source = _source(weights, x_or_mixture, samples, rows=int(with_biases))
    rows = source.means if isinstance(source, GaussianMixture) else source
    inputs = biases.with_constant(rows) if with_biases else rows
    weights, inputs, noise_std, weight_decay = risk.arguments(weights, inputs, noise_std, weight_decay)
    if inputs.dtype != jnp.float64:
        raise Refusal(
            "weights and x_or_mixture must be float64 for a flow (jax_enable_x64, not both float32); got"
            f" {inputs.dtype}"
        )
    for name, value in (("tolerance", tolerance), ("stationarity", 1.0 if stationarity is None else stationarity)):
        checks.positive(name, value)
        checks.shape(name, value, ())
    _tied(weights, tied, with_biases)
    _until(weights, until)
    budget = (MAX_DENSE_STEPS if dense else MAX_STEPS) if max_steps is None else max_steps
    if isinstance(source, GaussianMixture):
        source, share = jax.tree.map(lambda leaf: leaf.astype(inputs.dtype), source), None
    else:
        source = source.astype(inputs.dtype)
        share = risk.shares(source, samples)
    stop = None if stationarity is None else jnp.asarray(stationarity, inputs.dtype)
    numbers = noise_std, weight_decay, _times(times), jnp.asarray(tolerance, inputs.dtype), stop
    options = {"tied": tied, "with_biases": with_biases, "until": until, "dense": dense}
    found = solver.solve(weights, source, share, *numbers, **options, max_steps=checks.integer("max_steps", budget, 1))
    return Flow(**found)


def _source(weights: Weights, x_or_mixture: Any, samples: Any, *, rows: int) -> Any:
    """The samples, or the checked mixture, of a dimension smaller by `rows` than the weights'."""
    if isinstance(x_or_mixture, GaussianMixture):
        source = x_or_mixture.checked()
        dimension = source.dimension
        if samples is not None:
            raise Refusal(f"samples counts rows of x, and a mixture has none; got {samples}")
    else:
        source = checks.samples("x_or_mixture", x_or_mixture)
        dimension = source.shape[1]
    if isinstance(weights, Weights) and np.ndim(weights.encoder) == 2 and weights.dimension != dimension + rows:
        raise Refusal(
            f"x_or_mixture must have dimension {weights.dimension - rows}, as the weights have rows"
            f"{', one of them biases' if rows else ''}; got {dimension}"
        )
    return source


def _tied(weights: Weights, tied: bool, with_biases: bool) -> None:
    if tied and with_biases:
        raise Refusal("tied must be False with_biases: the decoder has none; got both")
    if tied and not checks.is_traced(weights.encoder) and not checks.is_traced(weights.decoder):
        gap = np.max(np.abs(np.asarray(weights.encoder) - np.asarray(weights.decoder)))
        if gap > 0:
            raise Refusal(f"weights must have encoder = decoder for a tied flow; they differ by up to {gap:.3g}")


def _until(weights: Weights, until: Any) -> None:
    if until is None:
        return
    found = jax.eval_shape(until, weights)
    if jnp.shape(found) or not jnp.issubdtype(getattr(found, "dtype", bool), jnp.floating):
        raise Refusal(f"until must give one floating number, whose sign ends the flow; got {found}")


def _times(times: Any) -> Float[Array, " T"]:
    times = checks.array("times", times, 1).astype(jnp.float64)
    checks.non_negative("times", times)
    if not checks.is_traced(times):
        listed = np.asarray(times)
        if np.any(listed[1:] <= listed[:-1]):
            raise Refusal(f"times must increase; got {listed.tolist()}")
    return times
