"""Activations where the answer is known: duplicated samples of a hybrid mixture, stored exactly."""

import jax
import jax.numpy as jnp
import numpy as np

from dae_theory import data, model, theory
from dae_theory.randomness import derive
from sims.worlds.activations import Activations


def activations(seed: int) -> Activations:
    """Cor. 3.4 at work: duplicated samples, each with a neuron of its own, beside two abundant clusters."""
    dimension, clusters, duplicates, rank, noise_std = 32, 2, 6, 4, 0.2
    key = derive(jax.random.key(seed), "demo")
    mixture = data.simplex_mixture(
        key, dimension=dimension, components=clusters + duplicates, radius=4.0, rank=rank - 1, spread=0.5
    )
    samples = mixture.sample_balanced(derive(key, "samples"), 60)
    spiky = np.asarray(samples.labels) < duplicates
    x = np.where(spiky[:, None], np.asarray(mixture.means)[np.asarray(samples.labels)], np.asarray(samples.x))
    weights = theory.block_weights(
        x, samples.labels, (1,) * duplicates + (rank,) * clusters, noise_std=noise_std, weight_decay=1e-3
    )
    y = jnp.asarray(x) + noise_std * jax.random.normal(derive(key, "noise"), x.shape)
    return Activations(
        {"representation": np.asarray(model.represent(weights, y))}, spiky, x, np.asarray(model.denoise(weights, y))
    )
