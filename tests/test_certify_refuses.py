"""What certificates, polishing and pulls refuse, by the argument's name."""

import jax
import jax.numpy as jnp
import pytest

from dae_theory import certify, data, theory
from dae_theory.model import pad_width

D = 10


@pytest.fixture(scope="module")
def simplex():
    return data.simplex_means(jax.random.key(0), dimension=D, components=5, radius=3.0)


def test_refusals(simplex, refused):
    weights = theory.memorizing_weights(simplex, noise_std=0.1, weight_decay=1e-3)
    good = {"noise_std": 0.1, "weight_decay": 1e-3}
    with refused("noise_std"):
        certify.certify(weights, simplex, noise_std=0.0, weight_decay=1e-3)
    with refused("weight_decay"):
        certify.polish(weights, simplex, noise_std=0.1, weight_decay=-1.0)
    with refused("x"):
        certify.certify(weights, simplex[:, :-1], **good)
    with refused("float64"):
        certify.certify(jax.tree.map(jnp.float32, weights), simplex.astype(jnp.float32), **good)
    with refused("starts"):
        certify.certify(weights, simplex, **good, starts=0)
    with refused("tolerance"):
        certify.polish(weights, simplex, **good, tolerance=0.0)
    with refused("samples"):
        certify.certify(weights, simplex, **good, samples=9)
    with refused("neurons"):
        certify.certify(weights, simplex, **good, neurons=4)
    with refused("neurons"):
        certify.certify(weights, simplex, **good, neurons=6)
    with refused("weights"):
        certify.certify(pad_width(weights, 500), simplex, **good)
    with refused("newton_steps"):
        certify.polish(pad_width(weights, 500), simplex, **good)
    with refused("direction"):
        certify.newcomer_pull(weights, simplex, jnp.zeros(D), noise_std=0.1)
