"""Training of a noise-conditional network: one scan a chunk of steps, a moving average, checkpoints, exact resume.

    L = E_σ E_x E_ε w(σ) ‖x̂₀(x + σε, σ) − x‖²/d,   log σ uniform between two levels

Every draw belongs to (key, step): a run cut after any chunk and continued from its checkpoint ends with the same bits
as one that was not, on the same machine and with the same chunks.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.diffusion.nets import Network
from dae_theory.randomness import derive
from dae_theory.training import warmup_then_decay


@struct.dataclass
class Settings:
    """How one network is trained. Leaves may be swept; the others are static.

    Attributes:
        lowest, highest: σ is log-uniform between them, leaves.
        learning_rate: peak of the schedule, leaf.
        data_scale: s of the weight w(σ) = (σ² + s²)/(σs)², under which every noise level counts alike for a
            preconditioned network; None is w = 1. Leaf.
        steps: optimizer steps.
        batch_size: rows a step, picked with replacement, each with its own σ.
        average: decay of the moving average of the parameters; min(average, (1 + t)/(10 + t)) at step t.
        chunk: steps a program call, between two checkpoints.
        optimizer: learning-rate schedule -> optax transformation.
        schedule: steps -> factor on the learning rate at each step.
        precision: of matrix products.
    """

    lowest: ArrayLike = 0.02
    highest: ArrayLike = 2.0
    learning_rate: ArrayLike = 1e-3
    data_scale: ArrayLike | None = None
    steps: int = struct.field(pytree_node=False, default=3000)
    batch_size: int = struct.field(pytree_node=False, default=64)
    average: float = struct.field(pytree_node=False, default=0.995)
    chunk: int = struct.field(pytree_node=False, default=250)
    optimizer: Callable[[optax.Schedule], optax.GradientTransformation] = struct.field(
        pytree_node=False, default=optax.adam
    )
    schedule: Callable[[int], optax.Schedule] = struct.field(pytree_node=False, default=warmup_then_decay)
    precision: str = struct.field(pytree_node=False, default="highest")


@struct.dataclass
class State:
    """Everything that a run goes on from.

    Attributes:
        step: steps done.
        parameters: as the optimizer sees them.
        average: their moving average, which `Trained.network` holds.
        optimizer: its state.
        losses: L on the batch of every step, (steps,); NaN where not done yet.
    """

    step: Int[Array, ""]
    parameters: PyTree
    average: PyTree
    optimizer: PyTree
    losses: Float[Array, " steps"]


@struct.dataclass
class Trained:
    """The end of a run: the network with averaged parameters, the loss of every step, and whether all is finite."""

    network: Network
    losses: Float[Array, " steps"]
    finite: Bool[Array, ""]


@runtime_checkable
class Store(Protocol):
    """Where states are kept (`checkpoints.Checkpoints` keeps files)."""

    def latest(self, like: State) -> State | None:
        """The newest state saved, in the structure and dtypes of `like`; None where there is none.

        A state of other shapes (another network, another number of steps) is refused with a ValueError.
        """
        ...

    def save(self, state: State) -> None:
        """Keep the state, durably, before returning."""
        ...


def train(
    key: Key[Array, ""],
    network: Network,
    x: ArrayLike,
    settings: Settings,
    *,
    store: Store | None = None,
    progress: Callable[[int], None] | None = None,
) -> Trained:
    """Train a network on samples x.

    Args:
        key: identity of the run; its batches and noise derive from it.
        network: where to start; its dtype is the dtype of training.
        x: samples (n, d); a duplicated one stands in several rows.
        settings: see `Settings`.
        store: keeps the state after every chunk; a run that finds one there goes on from it.
        progress: called with the number of steps just done (those found in the store included).

    Raises:
        ValueError: malformed samples, levels, rates or counts; a store with a run of other shapes.

    >>> import jax, jax.numpy as jnp
    >>> from dae_theory import diffusion
    >>> x = jnp.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]], jnp.float32)
    >>> network = diffusion.relu_network(jax.random.key(0), 2, width=4)
    >>> settings = diffusion.Settings(steps=20, batch_size=8, chunk=20)
    >>> trained = diffusion.train(jax.random.key(1), network, x, settings)
    >>> trained.losses.shape, trained.finite.item()
    ((20,), True)
    """
    checks.typed_key("key", key)
    x = checks.samples("x", x)
    checks.shape("x", x, (x.shape[0], network.dimension))
    _check(settings)
    dtype = jax.tree.leaves(network.parameters)[0].dtype
    x = x.astype(dtype)
    report = progress or (lambda count: None)
    state = _start(network, settings, dtype)
    found = None if store is None else store.latest(state)
    if found is not None:
        state = found
        report(int(state.step))
    while (done := int(state.step)) < settings.steps:
        length = min(settings.chunk, settings.steps - done)
        with jax.default_matmul_precision(settings.precision):
            state = _advance(key, network, x, settings, state, length)
        if store is not None:
            store.save(state)
        report(int(state.step) - done)
    finite = jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(state.average)]).all()
    return Trained(replace(network, parameters=state.average), state.losses, finite)


def _check(settings: Settings) -> None:
    checks.positive("lowest", settings.lowest)
    checks.positive("learning_rate", settings.learning_rate)
    if not float(jnp.asarray(settings.highest)) > float(jnp.asarray(settings.lowest)):
        raise Refusal(f"highest must be above lowest = {settings.lowest}; got {settings.highest}")
    if settings.data_scale is not None:
        checks.positive("data_scale", settings.data_scale)
    for name in ("steps", "batch_size", "chunk"):
        checks.integer(name, getattr(settings, name), 1)
    if not 0 <= settings.average < 1:
        raise Refusal(f"average must lie in [0, 1); got {settings.average}")


def _optimizer(settings: Settings) -> optax.GradientTransformation:
    factor = settings.schedule(settings.steps)
    return settings.optimizer(lambda count: settings.learning_rate * factor(count))


def _start(network: Network, settings: Settings, dtype: Any) -> State:
    with jax.numpy_dtype_promotion("standard"):
        optimizer = _optimizer(settings).init(network.parameters)
    losses = jnp.full(settings.steps, jnp.nan, dtype)
    return State(jnp.zeros((), jnp.int32), network.parameters, network.parameters, optimizer, losses)


@partial(jax.jit, static_argnames="length")
def _advance(key: Array, network: Network, x: Array, settings: Settings, state: State, length: int) -> State:
    optimizer, dtype = _optimizer(settings), x.dtype
    low, high = (jnp.log(jnp.asarray(level, dtype)) for level in (settings.lowest, settings.highest))

    def objective(parameters: PyTree, clean: Array, y: Array, noise_std: Array) -> Array:
        error = jnp.mean((replace(network, parameters=parameters)._run(y, noise_std)[0] - clean) ** 2, axis=1)
        if settings.data_scale is not None:
            square, noise = jnp.asarray(settings.data_scale, dtype) ** 2, noise_std**2
            error = error * (noise + square) / (noise * square)
        return jnp.mean(error)

    def step(state: State, _: None) -> tuple[State, None]:
        index = jax.random.randint(derive(key, "batch", state.step), (settings.batch_size,), 0, x.shape[0])
        share = jax.random.uniform(derive(key, "levels", state.step), (settings.batch_size,), dtype)
        noise_std = jnp.exp(low + (high - low) * share)
        clean = x[index]
        noise = jax.random.normal(derive(key, "noise", state.step), clean.shape, dtype)
        loss, gradient = jax.value_and_grad(objective)(
            state.parameters, clean, clean + noise_std[:, None] * noise, noise_std
        )
        with jax.numpy_dtype_promotion("standard"):  # optax mixes its own scalars with the parameters' dtype
            updates, inner = optimizer.update(gradient, state.optimizer, state.parameters)
            parameters = jax.tree.map(lambda p, u: p + u.astype(p.dtype), state.parameters, updates)
        done = state.step.astype(dtype)
        keep = jnp.minimum(jnp.asarray(settings.average, dtype), (1 + done) / (10 + done))
        average = jax.tree.map(lambda a, p: keep * a + (1 - keep) * p, state.average, parameters)
        losses = state.losses.at[state.step].set(loss)
        return State(state.step + 1, parameters, average, inner, losses), None

    return jax.lax.scan(step, state, None, length=length)[0]
