"""Chains from noise to data through every kind of denoiser: ends, and what their neurons do on the way."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array

from dae_theory import data, diffusion, representation, sampling, symmetry, theory


@jax.jit
def follow_nets(key: Array, nets: sampling.DenoiserSet, schedule: Array, start: Array) -> tuple[Array, Array]:
    """Ends of the chains, and the participation ratio of the merged nets' representations on the way, (L, m)."""
    merged = sampling.DenoiserSet(jax.vmap(symmetry.merge_parallel)(nets.weights).weights, nets.noise_stds)

    def observe(y: Array, denoised: Array, noise_std: Array) -> Array:
        return representation.spikiness(merged.represent(y, noise_std)).participation_ratio

    sampled = sampling.sample(key, nets, schedule, start, step=sampling.heun, observe=observe)
    return sampled.x, sampled.observed


@jax.jit
def follow_network(key: Array, network: diffusion.Network, schedule: Array, start: Array) -> Array:
    """Ends of the chains of a noise-conditional network, in its single precision."""
    single = start.astype(jnp.float32)
    return sampling.sample(key, network.denoise, schedule, single, step=sampling.heun).x.astype(start.dtype)


@jax.jit
def follow_samples(key: Array, training: Array, schedule: Array, start: Array) -> Array:
    """Ends of the chains of f_emp (3)."""
    f_emp = sampling.by_noise(partial(theory.empirical_denoiser, training))
    return sampling.sample(key, f_emp, schedule, start, step=sampling.heun).x


@jax.jit
def follow_mixture(key: Array, mixture: data.GaussianMixture, schedule: Array, start: Array) -> Array:
    """Ends of the chains of f_gt, the posterior mean of a mixture with spread orthogonal to the means."""
    f_gt = sampling.by_noise(partial(theory.mixture_denoiser, mixture, orthogonal=True))
    return sampling.sample(key, f_gt, schedule, start, step=sampling.heun).x
