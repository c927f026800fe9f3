"""Ends of chains that are steered by (11), and how they respond to the dose."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array

from dae_theory import data, diffusion, noise, sampling, steering, theory
from dae_theory.directions import unit
from dae_theory.randomness import derive


@partial(jax.jit, static_argnames="iterations")
def follow_set(
    nets: sampling.DenoiserSet,
    key: Array,
    source: Array,
    target: Array,
    schedule: Array,
    doses: Array,
    *,
    iterations: int,
) -> Array:
    """Ends of steering a set of nets by (11)."""
    noisy = _noisy_targets(key, target, schedule)

    def steered(y: Array, noise_std: Array, strength: Array) -> Array:
        weights = nets.at(noise_std)
        v = steering.mean_representation(weights, noisy[nets.level(noise_std)])
        return steering.steered_denoiser(weights, v, strength)(y)

    return _follow(steered, key, source, schedule, doses, iterations)


@partial(jax.jit, static_argnames="iterations")
def follow_mixture(
    mixture: data.GaussianMixture,
    key: Array,
    source: Array,
    target: Array,
    schedule: Array,
    doses: Array,
    *,
    iterations: int,
) -> Array:
    """The same for f_gt, whose mean answer to the target takes the place of W₂v, which is that of the net."""
    noisy = _noisy_targets(key, target, schedule)

    def steered(y: Array, noise_std: Array, strength: Array) -> Array:
        f_gt = theory.mixture_denoiser(mixture, noise_std, orthogonal=True)
        level = jnp.argmin(jnp.abs(schedule[:-1] - noise_std))
        return f_gt(y) + strength * jnp.mean(f_gt(noisy[level]), axis=0)[None]

    return _follow(steered, key, source, schedule, doses, iterations)


@partial(jax.jit, static_argnames=("layer", "iterations"))
def follow_network(
    network: diffusion.Network,
    key: Array,
    source: Array,
    target: Array,
    schedule: Array,
    doses: Array,
    *,
    layer: str,
    iterations: int,
) -> Array:
    """The same for one layer of hidden neurons of a network for all noise levels: v is a map, one number a unit."""
    noisy = _noisy_targets(key, target, schedule).astype(jnp.float32)
    levels = schedule[:-1].astype(jnp.float32)
    means = jax.lax.map(
        lambda pair: jnp.mean(network.activations(*pair)[layer], axis=0, keepdims=True), (noisy, levels)
    )

    def steered(y: Array, noise_std: Array, strength: Array) -> Array:
        v = means[jnp.argmin(jnp.abs(schedule[:-1] - noise_std))]
        edit = diffusion.Edit(jnp.ones_like(v), strength.astype(v.dtype) * v)
        return network.denoise(y.astype(v.dtype), noise_std.astype(v.dtype), {layer: edit}).astype(y.dtype)

    return _follow(steered, key, source, schedule, doses, iterations)


def _noisy_targets(key: Array, target: Array, schedule: Array) -> Array:
    """The target set under noise of every level, (L, m, d)."""
    numbers = jnp.arange(len(schedule) - 1)
    return jax.vmap(lambda k, sigma: noise.corrupt(derive(key, "target", k), target, sigma))(numbers, schedule[:-1])


def _follow(
    steered: Callable[[Array, Array, Array], Array],
    key: Array,
    source: Array,
    schedule: Array,
    doses: Array,
    iterations: int,
) -> Array:
    """Directions of the ends for every dose, (doses, m, d); `iterations` = 0 steers a sampler.

    A sampler moves y by a W₂v for every factor e that σ falls by, so its dose is a log(σ_0/σ_L).
    """
    levels = schedule[:-1]

    def ends(dose: Array) -> Array:
        if iterations:
            middle = levels[len(levels) // 2]
            y = noise.corrupt(derive(key, "start"), source, middle)
            return unit(steering.iterate(lambda y: steered(y, middle, dose / iterations), y, iterations))
        y = noise.corrupt(derive(key, "start"), source, levels[0])
        strength = dose / jnp.log(levels[0] / levels[-1])
        return unit(sampling.sample(key, lambda y, sigma: steered(y, sigma, strength), schedule, y).x)

    return jax.lax.map(ends, doses)


@jax.jit
def curves(ends: Array, target: Array, doses: Array) -> dict[str, Array]:
    """Measures of the response of all chains towards the direction of the target's mean, averaged over the chains."""
    goal = unit(jnp.mean(target, axis=0)[None])[0]

    def curve(doses: Array, ends: Array) -> steering.Response:
        return steering.response_curve(lambda dose: ends[jnp.searchsorted(doses, dose)], goal, doses)

    full, half = curve(doses, ends), curve(doses[::2], ends[::2])
    return {
        "moved": jnp.mean(full.moved, axis=0),
        "monotonicity": jnp.mean(full.monotonicity),
        "increasing": jnp.mean(full.increasing),
        "largest_jump": jnp.mean(full.largest_jump),
        "largest_step": jnp.mean(full.largest_step),
        "largest_step_halved": jnp.mean(half.largest_step),
    }


@jax.jit
def unsteered(nets: sampling.DenoiserSet, key: Array, source: Array, schedule: Array) -> Array:
    """Ends of the same chains without steering."""
    return sampling.sample(key, nets, schedule, noise.corrupt(derive(key, "start"), source, schedule[0])).x
