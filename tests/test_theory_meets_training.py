"""Trained ensembles land on the analytic weights: small versions of `python -m sims.minimizers`, one program each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import data, ensemble, theory
from dae_theory.compare import compare
from dae_theory.randomness import derive
from dae_theory.symmetry import block_error, match, merge_parallel
from dae_theory.training import Settings, train

SEEDS = 8
NOISE_STD = 0.2


def _learned(x, width, weight_decay, *, steps, rate=1e-2):
    settings = Settings(
        noise_std=NOISE_STD, weight_decay=weight_decay, learning_rate=rate, steps=steps, width=width, batch_size=60
    )

    def member(identity, x):
        return train(derive(jax.random.key(9), "member", identity), x, settings).weights

    weights = ensemble.run(member, np.arange(SEEDS), x.astype(jnp.float32), devices=jax.devices()[:2])
    return jax.tree.map(lambda w: jnp.asarray(w, jnp.float64), weights)


@pytest.mark.slow
@pytest.mark.parametrize("weight_decay", [0.05])
def test_memorizing_nets_store_the_samples_of_equation_9(key, weight_decay):
    x = data.simplex_means(key, dimension=32, components=5, radius=3.0)
    reference = theory.memorizing_weights(x, noise_std=NOISE_STD, weight_decay=weight_decay)
    learned = _learned(x, 20, weight_decay, steps=5000)
    found = jax.vmap(lambda weights: match(merge_parallel(weights).weights, reference))(learned)
    assert np.all(found.matched)
    assert np.min(found.cosine.mean(axis=1)) >= 0.999
    ratio = compare(1.0, np.asarray(found.norm_ratio.mean(axis=1)), tolerance=0.01)
    assert ratio.verdict == "agrees", ratio
    assert np.all(found.surplus < 0.01)


@pytest.mark.slow
def test_generalizing_nets_hold_the_blocks_of_theorem_3_1(key):
    mixture = data.simplex_mixture(
        derive(key, "mixture"), dimension=16, components=3, radius=6.0, rank=2, spread=0.3, clean=True
    )
    samples = mixture.sample_balanced(derive(key, "samples"), 20)
    ranks = (3, 3, 3)
    reference = theory.block_weights(samples.x, samples.labels, ranks, noise_std=NOISE_STD, weight_decay=1e-3)
    blocks = theory.block_of_neuron(ranks)
    assert theory.margins(reference, samples.x, samples.labels, blocks, noise_std=NOISE_STD).worst > 5
    learned = _learned(samples.x, 18, 1e-3, steps=10000)
    found = jax.vmap(
        lambda weights: block_error(merge_parallel(weights).weights, reference, samples.x, samples.labels, blocks=3)
    )(learned)
    error = compare(0.0, np.asarray(found.error.mean(axis=1)), tolerance=0.05, scale=1.0)
    assert error.verdict == "agrees", error
    assert np.all(found.leakage < 0.01)
