"""Samples that stand out, and scores that are fooled by them: on denoisers whose answers are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import representation
from sims import confounders, controls
from sims.measures import confounded, controlled
from sims.nets.convolutional import convolutional_network
from sims.worlds import lookalikes


def test_easy_long_and_ordinary_samples_are_disjoint_and_what_they_are_called():
    rng = np.random.default_rng(0)
    difficulty, norms = rng.random(40), rng.random(40)
    easy, large, ordinary = lookalikes.extremes(difficulty, norms, 10)
    assert len({*easy, *large, *ordinary}) == 30
    assert difficulty[easy].max() < np.delete(difficulty, easy).min()
    rest = np.setdiff1d(np.arange(40), easy)
    assert norms[large].min() > norms[np.setdiff1d(rest, large)].max()
    near = lookalikes.near_vectors(jax.random.key(1), rng.standard_normal((5, 7)), 0.3)
    assert near.shape == (5, 7)


def test_near_images_are_moved_by_a_pixel():
    mean = np.linspace(0, 1, 12)
    x = np.arange(24.0).reshape(2, 12)
    moved = lookalikes.near_images(x, mean, (3, 4)) + mean
    pixels, before = moved.reshape(2, 3, 4), (x + mean).reshape(2, 3, 4)
    np.testing.assert_allclose(pixels[:, :, 1:], before[:, :, :-1], rtol=1e-12)
    np.testing.assert_allclose(pixels[:, :, 0], before[:, :, 0], rtol=1e-12)


def test_a_denoiser_that_returns_the_nearest_stored_sample_is_found_by_loss_and_dimension():
    """f returns stored samples, and projects others on a plane: their loss and dimension are known."""
    rng = np.random.default_rng(2)
    stored = np.concatenate([np.zeros((8, 2)), 5 * np.eye(8)], axis=1).astype(np.float32)
    others = np.concatenate([rng.standard_normal((32, 2)), np.zeros((32, 8))], axis=1).astype(np.float32)
    x, kinds = lookalikes.joined([stored, others[:8], others[8:16], others[16:24], others[24:28], others[28:]])
    plane = jnp.asarray(np.arange(10) < 2, jnp.float32)

    def denoise(_, y, noise_std):
        gap = jnp.sum((y[:, None] - jnp.asarray(stored)[None]) ** 2, axis=-1)
        nearest = jnp.asarray(stored)[jnp.argmin(gap, axis=1)]
        return jnp.where(jnp.min(gap, axis=1, keepdims=True) < 9, nearest, y * plane[None])

    subject = confounded.Subject(x, kinds, 0.1, None, denoise, lambda _, y, noise_std: {"hidden": jax.nn.relu(y)})
    found = confounded.scores(jax.random.key(3), subject, 2)
    compared = confounded.compare(jax.random.key(4), [found], [kinds])
    assert compared.sizes["score"] == len(confounded.SCORES)
    finds = compared["finds"].sel(bound="estimate")
    for score in ("loss", "local dimension", "kept directions", "curvature", "flattest"):
        assert (finds.sel(score=score) == 1).all(), score
    assert (compared["fooled"].sel(score="kept directions", bound="estimate").isel(against=slice(1, None)) == 0.5).all()
    np.testing.assert_array_equal(found.values["kept directions"][0], -np.where(kinds == 0, 0, 2))
    np.testing.assert_allclose(found.values["flattest"][0], np.where(kinds == 0, 100, 0), atol=1e-3)
    assert compared["cost"].sel(score="loss") == 1
    single, together = compared["finds"], compared["together"]
    assert (together.sel(bound="low") <= single.sel(bound="low")).all()
    assert (together.sel(bound="estimate") == single.sel(bound="estimate")).all()
    # Three nets alike: pooled, the AUROC of one, and as nets are the units and do not vary, nothing is uncertain.
    alike = confounded.compare(jax.random.key(5), [found] * 3, [kinds] * 3)["fooled"].sel(score="score norm")
    np.testing.assert_allclose(
        alike.sel(bound="estimate"), compared["fooled"].sel(score="score norm", bound="estimate")
    )
    np.testing.assert_allclose(alike.sel(bound="high"), alike.sel(bound="low"), atol=1e-6)


def test_a_convolutional_net_without_biases_is_homogeneous_and_sees_a_neighbourhood():
    key, other = jax.random.split(jax.random.key(5))
    net = convolutional_network(key, (8, 6), channels=3)
    y = jax.random.normal(other, (2, 48), jnp.float32)
    np.testing.assert_allclose(net.denoise(3 * y, 0.1), 3 * net.denoise(y, 0.5), rtol=1e-4, atol=1e-5)
    hidden = net.activations(y, 0.1)
    assert hidden["first"].shape == (2, 8, 6, 3)
    assert hidden["bottom"].shape == (2, 4, 3, 6)
    kernel = net.parameters["first"]["kernel"][...].reshape(3, 3, 1, 3)
    image = np.pad(np.asarray(y[0]).reshape(8, 6), 1)
    expected = np.maximum(np.einsum("ij,ijk->k", image[3:6, 2:5], np.asarray(kernel)[:, :, 0]), 0)
    np.testing.assert_allclose(hidden["first"][0, 3, 2], expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="--size must be even"):
        convolutional_network(key, (7, 8), channels=3)


def test_columns_are_of_the_kinds_that_the_figure_shows():
    names = {"first/std": "std", "last/gini σ=0.1": "scale-free", "denoising_loss σ=0.1": "loss", "input_norm": "input"}
    assert {name: controlled.kind_of(name) for name in names} == names
    assert set(controls.BEFORE) == set(controls.CONTROLS)
    assert set(confounders.NETS) == {"two-layer", "relu", "convolutional"}
    assert set(confounded.REPRESENTATION) <= set(representation.ORIENTATION)
