"""One training run of the objective (6) as a pure function of (key, samples, settings): one scan over the steps.

    L(W₂, W₁) = (1/n) Σᵢ E_ε ‖f(xᵢ + σε) − xᵢ‖² + λ(‖W₁‖²_F + ‖W₂‖²_F)

The expectation is sampled with fresh noise every step. Swept numbers are leaves of `Settings`, structure is static, so
whole runs can be vmapped over σ, λ, the learning rate, the number of live samples and the number of live neurons.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from dae_theory import batches, checks, layout
from dae_theory.checks import Refusal
from dae_theory.initialization import initial_weights
from dae_theory.model import Weights
from dae_theory.randomness import derive
from dae_theory.schedules import constant_rate, log_spaced, warmup_then_decay

__all__ = [
    "History",
    "Settings",
    "Trained",
    "constant_rate",
    "elapsed",
    "initial_weights",
    "log_spaced",
    "train",
    "trained_denoiser",
    "warmup_then_decay",
]


def trained_denoiser(weights: Weights, start: Weights, y: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
    """f(y) of (5), whatever the initial weights `start` were: what is trained unless the settings say otherwise."""
    return layout.denoise_held(weights, y)


@struct.dataclass
class Settings:
    """How one net is trained. Leaves may be swept by vmap; the others are static.

    Attributes:
        noise_std: σ of (6), leaf.
        weight_decay: λ of (6) on each ‖W_l‖² (so 2λ‖W‖² for tied weights), leaf.
        learning_rate: peak of the schedule, leaf.
        init_scale: expected norm of an initial column, leaf.
        steps: optimizer steps.
        width: p, neurons.
        batch_size: noisy samples per step; None is full batch with one noise draw a sample. When there are fewer
            samples than this, every sample gets ⌊batch_size/n⌋ independent draws; when there are more, that many are
            picked with replacement.
        optimizer: learning-rate schedule -> optax transformation, as `optax.adam`; sees the gradient of all of (6).
        schedule: steps -> factor on the learning rate at each step.
        tied: one matrix W = W₁ = W₂.
        denoiser: (weights, initial weights, y) -> f(y), the function that is trained; others than the net itself are
            `dynamics.linearized` and, with the output at initialization subtracted, `dynamics.centered`.
        record_at: steps after which the history is written; the last step is always recorded. See `log_spaced`.
        hashed_noise: bits of the noise by `randomness.HASHED`, several times cheaper than threefry on CPU; other draws
            of the same distribution.
        antithetic: steps come in pairs that see the same samples, the second with the first one's noise negated. Every
            step's gradient is as unbiased as before; of a pair's, the part that is odd in the noise cancels, so that
            at a constant rate nets hover lower than with independent noise.
        precision: of matrix products; matters where hardware would use TF32 or bfloat16.
    """

    noise_std: ArrayLike = 0.2
    weight_decay: ArrayLike = 0.0
    learning_rate: ArrayLike = 3e-3
    init_scale: ArrayLike = 0.1
    steps: int = struct.field(pytree_node=False, default=4000)
    width: int = struct.field(pytree_node=False, default=32)
    batch_size: int | None = struct.field(pytree_node=False, default=None)
    optimizer: Callable[[optax.Schedule], optax.GradientTransformation] = struct.field(
        pytree_node=False, default=optax.adam
    )
    schedule: Callable[[int], optax.Schedule] = struct.field(pytree_node=False, default=warmup_then_decay)
    tied: bool = struct.field(pytree_node=False, default=False)
    denoiser: Callable[[Weights, Weights, Array], Array] = struct.field(pytree_node=False, default=trained_denoiser)
    record_at: tuple[int, ...] = struct.field(pytree_node=False, default=())
    hashed_noise: bool = struct.field(pytree_node=False, default=False)
    antithetic: bool = struct.field(pytree_node=False, default=False)
    precision: str = struct.field(pytree_node=False, default="highest")


def elapsed(settings: Settings, step: ArrayLike) -> Float[Array, "*records"]:
    """Time of training after `step` steps, the sum of the rates so far: η · step for a constant rate η.

    Plain stochastic gradient descent follows `dynamics.gradient_flow` at this time. `step` holds whole numbers from 0
    to the settings' steps, of any shape.

    >>> import jax.numpy as jnp
    >>> from dae_theory import schedules, training
    >>> settings = training.Settings(steps=10, learning_rate=0.1, schedule=schedules.constant_rate)
    >>> print(training.elapsed(settings, jnp.array([0, 5, 10])).round(3))
    [0.  0.5 1. ]
    """
    with jax.numpy_dtype_promotion("standard"):
        factors = jax.vmap(settings.schedule(settings.steps))(jnp.arange(settings.steps))
    factors = jnp.broadcast_to(factors, (settings.steps,)).astype(jnp.result_type(float))
    total = jnp.concatenate([jnp.zeros(1, factors.dtype), jnp.cumsum(factors)])
    return jnp.asarray(settings.learning_rate, total.dtype) * total[jnp.asarray(step)]


@struct.dataclass
class History:
    """What was recorded, R = number of recorded steps.

    Attributes:
        step: (R,), steps done.
        loss: (R,), the sampled objective (6), averaged over the steps since the previous record.
        observed: what `observe` returned, each leaf with a leading axis R; None without it.
    """

    step: Int[Array, "*records"]
    loss: Float[Array, "*records"]
    observed: PyTree


@struct.dataclass
class Trained:
    """The end of a run: weights, history, and whether every weight is finite (a diverged run is data, not an error)."""

    weights: Weights
    history: History
    finite: Bool[Array, "*members"]


def _objective(
    parameters: tuple[Array, ...],
    denoiser: Callable[[Weights, Array], Array],
    y: Array,
    x: Array,
    row_weight: Array,
    weight_decay: Array,
) -> Float[Array, ""]:
    """(6) on one noisy batch; `parameters` are held as `layout` says."""
    weights = layout.weights_of(parameters, x.shape[1])
    error = jnp.sum((denoiser(weights, y) - x) ** 2, axis=-1)
    penalty = jnp.sum(weights.decoder**2) + jnp.sum(weights.encoder**2)
    return row_weight @ error + weight_decay * penalty


def train(
    key: Key[Array, ""],
    x: ArrayLike,
    settings: Settings,
    *,
    samples: ArrayLike | None = None,
    neurons: ArrayLike | None = None,
    observe: Callable[[Weights], PyTree] | None = None,
    noise_key: Key[Array, ""] | None = None,
) -> Trained:
    """Train one net on the objective (6).

    Args:
        key: identity of the run; its initial weights, batches and noise all derive from it.
        x: samples (n, d); their dtype is the dtype of training.
        settings: see `Settings`.
        samples: number of live rows of x (traced or not), all by default; rows behind them are padding.
        neurons: number of live neurons (traced or not), all by default; columns behind them stay exactly zero.
        observe: function of the weights whose value is kept at `settings.record_at` and at the end.
        noise_key: what batches and noise derive from instead of `key`. Members of an ensemble that are given one such
            key see common noise: it is drawn once for a group, and differences between members are steadier. Their
            errors are then dependent: a mean over them is no better for their number in what the noise decides.

    Returns:
        The weights, the history and a flag for finite weights.

    Raises:
        ValueError: for malformed samples, negative σ, λ or rates, or counts out of range.

    >>> import jax, jax.numpy as jnp
    >>> from dae_theory import training
    >>> x = jnp.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    >>> settings = training.Settings(steps=50, width=6, record_at=(1,))
    >>> trained = training.train(jax.random.key(0), x, settings)
    >>> trained.weights.encoder.shape, trained.history.step.tolist()
    ((2, 6), [1, 50])
    >>> print(trained.history.loss[1] < trained.history.loss[0])
    True
    """
    checks.typed_key("key", key)
    x = checks.samples("x", x)
    _check(x, settings, samples, neurons)
    if noise_key is not None:
        checks.typed_key("noise_key", noise_key)
    with jax.default_matmul_precision(settings.precision):
        return _train(key, x, settings, samples, neurons, observe, noise_key)


@partial(jax.jit, static_argnames="observe")
def _train(key, x, settings, samples, neurons, observe, noise_key) -> Trained:
    dtype = x.dtype
    noise_std, weight_decay = (jnp.asarray(v, dtype) for v in (settings.noise_std, settings.weight_decay))
    if noise_key is None:
        noise_key = key
    else:  # a y of every member's own: XLA multiplies stacks of matrices faster than one matrix with all of a stack
        noise_std = noise_std + (jax.random.key_data(key).ravel()[0] & 0).astype(dtype)
    samples = jnp.asarray(x.shape[0] if samples is None else samples)
    neurons = settings.width if neurons is None else neurons
    factor = settings.schedule(settings.steps)
    optimizer = settings.optimizer(lambda count: settings.learning_rate * factor(count))
    record_at = jnp.asarray(sorted({*settings.record_at, settings.steps}))

    weights = initial_weights(
        key, x.shape[1], settings.width, scale=settings.init_scale, tied=settings.tied, neurons=neurons, dtype=dtype
    )

    def denoiser(here: Weights, y: Array) -> Array:
        return settings.denoiser(here, weights, y)

    def step(carry, count):
        parameters, state, loss_sum, history = carry
        draw = batches.draw_of(count, antithetic=settings.antithetic)
        batch_key = derive(noise_key, "batch", draw)
        index, row_weight = batches.rows(batch_key, x.shape[0], samples, settings.batch_size, dtype)
        clean = x if settings.batch_size is None else x[index]
        noise = batches.noise(derive(noise_key, "noise", draw), clean.shape, dtype, hashed=settings.hashed_noise)
        y = clean + noise_std * (jnp.where(count % 2 == 0, noise, -noise) if settings.antithetic else noise)
        loss, gradient = jax.value_and_grad(_objective)(parameters, denoiser, y, clean, row_weight, weight_decay)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes its own float32 scalars with the parameters' dtype
            updates, state = optimizer.update(gradient, state, parameters)
            parameters = jax.tree.map(jnp.add, parameters, updates)

        slot = jnp.searchsorted(record_at, count + 1)

        def write(history: History, loss_sum: Array) -> tuple[History, Array]:
            done = record_at[slot] - jnp.where(slot > 0, record_at[slot - 1], 0)
            observed = observe and observe(layout.weights_of(parameters, x.shape[1]))
            now = History(count + 1, loss_sum / done.astype(dtype), observed)
            return jax.tree.map(lambda all_, one: all_.at[slot].set(one), history, now), jnp.zeros_like(loss_sum)

        history, loss_sum = jax.lax.cond(
            record_at[slot] == count + 1, write, lambda *unchanged: unchanged, history, loss_sum + loss
        )
        return (parameters, state, loss_sum, history), None

    parameters = layout.hold(weights, tied=settings.tied)
    observed = observe and _empty(observe, weights, record_at.size)
    empty = History(
        jnp.zeros(record_at.shape, record_at.dtype),
        jnp.zeros(record_at.shape, dtype),
        observed,
    )
    with jax.numpy_dtype_promotion("standard"):
        state = optimizer.init(parameters)
    carry = (parameters, state, jnp.zeros((), dtype), empty)
    (parameters, _, _, history), _ = jax.lax.scan(step, carry, jnp.arange(settings.steps))
    trained = layout.weights_of(parameters, x.shape[1])
    finite = jnp.stack([jnp.all(jnp.isfinite(w)) for w in jax.tree.leaves(trained)]).all()
    return Trained(trained, history, finite)


def _empty(observe: Callable[[Weights], PyTree], weights: Weights, records: int) -> PyTree:
    """What `observe` will return, zero, with a leading axis of records; it may hold records such as the weights."""
    structures = []

    def leaves(weights: Weights) -> list[Array]:  # records are rebuilt from arrays, never from shapes
        flat, structure = jax.tree.flatten(observe(weights))
        structures.append(structure)
        return flat

    shapes = jax.eval_shape(leaves, weights)
    return jax.tree.unflatten(structures[0], [jnp.zeros((records, *one.shape), one.dtype) for one in shapes])


def _check(x: Array, settings: Settings, samples: ArrayLike | None, neurons: ArrayLike | None) -> None:
    checks.non_negative("noise_std", settings.noise_std)
    checks.non_negative("weight_decay", settings.weight_decay)
    checks.positive("learning_rate", settings.learning_rate)
    checks.positive("init_scale", settings.init_scale)
    checks.integer("steps", settings.steps, 1)
    checks.integer("width", settings.width, 1)
    if settings.batch_size is not None:
        checks.integer("batch_size", settings.batch_size, 1)
    outside = [step for step in settings.record_at if not 1 <= step <= settings.steps]
    if outside:
        raise Refusal(f"record_at must hold steps from 1 to steps = {settings.steps}; got {outside}")
    for name, value, limit, what in (
        ("samples", samples, x.shape[0], "rows of x"),
        ("neurons", neurons, settings.width, "width"),
    ):
        if value is not None and not checks.is_traced(value) and not 1 <= int(np.asarray(value)) <= limit:
            raise Refusal(f"{name} must be from 1 to {limit} ({what}); got {value}")
