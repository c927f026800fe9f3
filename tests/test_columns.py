"""Columns beside the analytic ones: what is said of the analytic weights themselves, and where a verdict turns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from dae_theory import data, theory
from dae_theory.model import Weights
from sims.measures import columns
from sims.worlds.simplex import SimplexConfig

SIGMA, DECAY = 0.2, 1e-2


@pytest.fixture(scope="module")
def x():
    return SimplexConfig(samples=4, dimension=9, radius=3.0).draw(jax.random.key(0))


def test_the_analytic_weights_are_the_samples(x):
    """Split and permuted: (9) in every column, no surplus; the margin is the simplex's."""
    exact = theory.memorizing_weights(x, noise_std=SIGMA, weight_decay=DECAY, width=6).encoder
    split = exact.at[:, 4].set(0.6 * exact[:, 0]).at[:, 0].set(0.8 * exact[:, 0])[:, ::-1]
    nets = Weights(decoder=split[None, None], encoder=split[None, None])
    found = columns.against_samples(nets, x, [DECAY], SIGMA)
    np.testing.assert_allclose(found["cosine"], 1, rtol=1e-12)
    np.testing.assert_allclose(found["norm_ratio"], 1, rtol=1e-12)
    assert found["neurons"] == 4
    assert found["unmerged"] == 5
    np.testing.assert_allclose(found["surplus"], 0, atol=1e-12)
    np.testing.assert_allclose(found["largest_cosine"], -1 / 3, rtol=1e-12)
    np.testing.assert_allclose(found["gate_margin"], theory.simplex_gate_margin(4, 3.0, SIGMA), rtol=1e-12)
    # pictures of the matched columns come in the samples' order
    np.testing.assert_array_equal(found["learned_picture"][:4], found["analytic_picture"])


def test_the_block_solution_is_its_own_block():
    """Gains and directions of (8) whatever the rotation; no angle is left."""
    mixture = data.simplex_mixture(jax.random.key(1), dimension=9, components=2, radius=3.0, rank=2, spread=0.4)
    x = mixture.sample_component(jax.random.key(2), 0, 40).x
    weights = theory.block_weights(x, np.zeros(40, int), (3,), noise_std=SIGMA, weight_decay=1e-3)
    found = columns.against_block(np.asarray(weights.encoder)[None], x, 1e-3, SIGMA)
    assert found["resolved"] == 3
    np.testing.assert_allclose(found["angle"][0], 0, atol=1e-5)
    np.testing.assert_allclose(found["captured"][0], 1, rtol=1e-12)
    np.testing.assert_allclose(found["gain"][0], found["gain_theory"], rtol=1e-10)
    assert found["open_gates"][0] == 1


@pytest.mark.parametrize(
    ("cosine", "norm", "verdicts"),
    [(0.9995, 1.019, ["agrees", "agrees"]), (0.9985, 0.981, ["differs", "agrees"]), (1.0, 0.97, ["agrees", "differs"])],
)
def test_columns_are_the_samples_within_what_is_claimed(cosine, norm, verdicts):
    cosines, norms = (xr.DataArray([1.0, value], dims="sample") for value in (cosine, norm))
    rows = columns.stored_rows("a net", cosines, norms)
    assert [row.verdict for row in rows] == verdicts
    np.testing.assert_allclose([row.measured for row in rows], [cosine, abs(norm - 1)], rtol=1e-12)


def test_pictures_keep_signs_and_proportions():
    shown = columns.pictures(jnp.array([[2.0, 0.0], [-1.0, 0.0]]))
    np.testing.assert_array_equal(shown, [[127, -64], [0, 0]])
    assert shown.dtype == np.int8
