"""Layered nets trained side by side: members differ in biases, skip connection and seed, and share a program."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dae_theory import batches, layered
from dae_theory.checks import Refusal
from dae_theory.grid import Grid
from dae_theory.layered import Layered
from dae_theory.randomness import derive
from dae_theory.training import Settings
from sims import launch


def train_nets(
    run: launch.Run, part: str, pools: Any, settings: Settings, *, root: Array, depth: int, gain: float
) -> Layered:
    """Nets of one depth, with axes (bias, skip, seed): both without and with, and one for each pool.

    A member has the key of its seed: all variants of a seed share initial weights, batches and noise.

    Args:
        run: the launched run.
        part: name of the ensemble in the record's store.
        pools: training samples of every seed, (S, n, d); they are trained in float32.
        settings: of training; the penalty λ is on all matrices and biases.
        root: key of the sim.
        depth: L.
        gain: of the initial weights, see `layered.start`.

    Raises:
        ValueError: some of the nets diverged.
    """
    pools = jnp.asarray(pools, jnp.float32)
    grid = Grid(bias=np.arange(2), skip=np.arange(2), seed=np.arange(len(pools)))

    def member(point: dict[str, Any], pools: Array) -> Layered:
        key = derive(root, "net", point["seed"])
        net = layered.start(
            derive(key, "start"), pools.shape[-1], width=settings.width, depth=depth, skip=point["skip"], gain=gain
        )
        return _trained(key, net, pools[point["seed"]], settings, point["bias"].astype(jnp.float32))

    nets = run.ensemble(part, member, grid.points(), pools, group=1)

    def shaped(leaf: Any) -> Array:
        if not np.isfinite(leaf).all():
            raise Refusal(f"--learning-rate must be lower: some of the nets of {part} diverged")
        return jnp.asarray(leaf).reshape(*grid.shape, *np.shape(leaf)[1:])

    return jax.tree.map(shaped, nets)


def _trained(key: Array, net: Layered, x: Array, settings: Settings, biased: Array) -> Layered:
    """The objective (6) of a layered net with fresh noise every step; without biases they stay 0."""
    factor = settings.schedule(settings.steps)
    optimizer = settings.optimizer(lambda count: settings.learning_rate * factor(count))
    noise_std, weight_decay = (jnp.asarray(number, x.dtype) for number in (settings.noise_std, settings.weight_decay))

    def network(parameters: tuple[Any, Any]) -> Layered:
        matrices, biases = parameters
        return replace(net, matrices=matrices, biases=tuple(biased * bias for bias in biases))

    def objective(parameters: tuple[Any, Any], y: Array, clean: Array) -> Array:
        output, _ = layered.forward(network(parameters), y)
        penalty = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(parameters))
        return jnp.mean(jnp.sum((output - clean) ** 2, axis=1)) + weight_decay * penalty

    def step(carry: Any, count: Array) -> tuple[Any, None]:
        parameters, state = carry
        index = jax.random.randint(derive(key, "batch", count), (settings.batch_size or len(x),), 0, len(x))
        clean = x[index]
        y = clean + noise_std * batches.noise(derive(key, "noise", count), clean.shape, x.dtype, hashed=True)
        gradient = jax.grad(objective)(parameters, y, clean)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes its own float32 scalars with the parameters' dtype
            updates, state = optimizer.update(gradient, state, parameters)
            return (jax.tree.map(jnp.add, parameters, updates), state), None

    parameters = (net.matrices, net.biases)
    with jax.numpy_dtype_promotion("standard"):
        carry = (parameters, optimizer.init(parameters))
    (parameters, _), _ = jax.lax.scan(step, carry, jnp.arange(settings.steps))
    return network(parameters)
