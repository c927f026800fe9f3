"""Observables of a cell's net where the answer is known: the stored solution, also of a sample that is repeated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import data, theory
from dae_theory.model import Weights
from sims.measures.observables import measured
from sims.nets import cell
from sims.worlds import sources

LEVELS = {"noise_std": 0.05, "weight_decay": 1e-3}
DISTINCT, DIMENSION = 4, 6


@pytest.fixture(scope="module")
def worlds():
    """One world whose training pool is a simplex: every stored sample is silent at all others."""
    source = sources.source(sources.SourceConfig(dimension=DIMENSION, components=2, rank=1))
    world = source.draw(jax.random.key(0), {"d": DIMENSION, "K": 2, "separation": 3.0}, DISTINCT, 32)
    x = data.simplex_means(jax.random.key(1), dimension=DIMENSION, components=DISTINCT, radius=3.0)
    return jax.tree.map(lambda field: field[None], world.replace(pool=x.astype(jnp.float32))), source


@pytest.mark.parametrize("copies", [1, 5])
def test_the_stored_solution_is_told_as_such(worlds, copies):
    worlds, source = worlds
    x = worlds.pool[0].astype(float)
    samples = DISTINCT + copies - 1
    times = np.asarray([copies, 1, 1, 1])
    squares = jnp.stack(
        [
            theory.duplicate_norm_squared(row, copies=int(m), samples=samples, **LEVELS)
            for row, m in zip(x, times, strict=True)
        ]
    )
    columns = (jnp.sqrt(squares)[:, None] * x / jnp.linalg.norm(x, axis=1, keepdims=True)).T
    at = {"n": DISTINCT, "copies": copies, "sigma": LEVELS["noise_std"], "lambda": LEVELS["weight_decay"]}
    at |= {"p": DISTINCT, "scale": 0.3}
    points = cell.points(
        np.arange(1),
        root=0,
        world=np.zeros(1, int),
        identity=np.zeros(1, int),
        at={name: np.asarray([value]) for name, value in at.items()},
    )
    found = measured(
        (
            jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), points),
            {"weights": Weights(columns, columns), "train_objective": jnp.zeros(())},
        ),
        worlds,
        max_rows=12,
        evaluation=32,
        truth=source.truth_denoiser,
        population=True,
    )
    assert found["error_against_spiky"] < 1e-6
    assert found["error_against_balanced"] > 0.1
    assert (found["neurons"], found["neurons_on_a_sample"], found["stored_samples"]) == (DISTINCT, 1, 1)
    assert found["train_index"] > 0.9
    assert found["finite"]
