"""The analytic weights: formulas (7)-(9), [X3], Cor. 3.3, the rotation, symmetries, limits and refusals."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import data, model, theory

SIGMA, DECAY = 0.2, 0.01
RANKS = (3, 3, 3)
TIGHT = 1e-12


@pytest.fixture(scope="module")
def mixture():
    key = jax.random.key(1)
    return data.simplex_mixture(key, dimension=10, components=3, radius=5.0, rank=4, spread=0.4, clean=True)


@pytest.fixture(scope="module")
def clusters(mixture):
    """Three clusters of 30 samples that the gates tell apart."""
    return mixture.sample_balanced(jax.random.key(2), 30)


@pytest.fixture(scope="module")
def blocks(clusters):
    return theory.block_weights(clusters.x, clusters.labels, RANKS, noise_std=SIGMA, weight_decay=DECAY)


def filters(weights, blocks):
    """W_kW_kᵀ of every block."""
    encoder = np.asarray(weights.encoder)
    return np.stack([encoder[:, blocks == k] @ encoder[:, blocks == k].T for k in range(blocks.max() + 1)])


def simplex(samples, dimension, radius, key):
    return data.simplex_means(key, dimension=dimension, components=samples, radius=radius)


def test_blocks_are_the_formula(clusters, blocks):
    """W_kW_kᵀ = U (Λ − nλ)(Λ + n_kσ²)⁻¹ Uᵀ with the Gram matrix's own eigenpairs, by NumPy."""
    x, labels = np.asarray(clusters.x), np.asarray(clusters.labels)
    for k, measured in enumerate(filters(blocks, theory.block_of_neuron(RANKS))):
        cluster = x[labels == k]
        eigenvalues, vectors = np.linalg.eigh(cluster.T @ cluster)
        eigenvalues, vectors = eigenvalues[-3:], vectors[:, -3:]
        gains = (eigenvalues - len(x) * DECAY) / (eigenvalues + len(cluster) * SIGMA**2)
        np.testing.assert_allclose(measured, (vectors * gains) @ vectors.T, rtol=0, atol=TIGHT)
    np.testing.assert_array_equal(blocks.decoder, blocks.encoder)


def test_every_neuron_has_its_right_gate(clusters, blocks):
    activations = clusters.x @ blocks.encoder
    own = np.asarray(clusters.labels)[:, None] == theory.block_of_neuron(RANKS)[None, :]
    assert bool(jnp.all((activations > 0) == own))
    worst = theory.margins(blocks, clusters.x, clusters.labels, theory.block_of_neuron(RANKS), noise_std=SIGMA).worst
    assert worst > 3


def test_jacobian_has_the_gains_as_singular_values(clusters, blocks):
    gains = theory.block_gains(clusters.x, clusters.labels, RANKS, noise_std=SIGMA, weight_decay=DECAY)
    jacobians = jax.vmap(model.jacobian, in_axes=(None, 0))(blocks, clusters.x)
    singular = jnp.linalg.svd(jacobians, compute_uv=False)
    expected = jnp.pad(gains, ((0, 0), (0, 10 - gains.shape[1])))[clusters.labels]
    np.testing.assert_allclose(singular, expected, rtol=0, atol=TIGHT)
    np.testing.assert_array_equal(jnp.sum(gains > 0, axis=1), RANKS)


def test_rotation_widens_the_householder_margin(clusters, blocks):
    """Householder: every neuron sees the mean equally. The ascent: same filter, wider worst margin, same every time."""
    arguments = (clusters.x, clusters.labels, RANKS)
    numbers: Any = {"noise_std": SIGMA, "weight_decay": DECAY}
    start = theory.block_weights(*arguments, **numbers, rotation_steps=0)
    names = theory.block_of_neuron(RANKS)
    np.testing.assert_allclose(filters(start, names), filters(blocks, names), rtol=0, atol=TIGHT)
    for k in range(3):
        mean = clusters.x[clusters.labels == k].mean(axis=0)
        seen = mean @ start.encoder[:, names == k]
        np.testing.assert_allclose(seen, jnp.full_like(seen, seen[0]), rtol=1e-13)
    margins = [theory.margins(w, clusters.x, clusters.labels, names, noise_std=SIGMA).worst for w in (start, blocks)]
    assert margins[1] > margins[0]
    again = theory.block_weights(*arguments, **numbers)
    np.testing.assert_array_equal(again.encoder, blocks.encoder)


def test_rotating_the_data_rotates_the_weights(clusters, blocks, key):
    rotation = jax.random.orthogonal(key, 10)
    turned = theory.block_weights(clusters.x @ rotation.T, clusters.labels, RANKS, noise_std=SIGMA, weight_decay=DECAY)
    expected = rotation @ filters(blocks, theory.block_of_neuron(RANKS)) @ rotation.T
    np.testing.assert_allclose(filters(turned, theory.block_of_neuron(RANKS)), expected, rtol=0, atol=TIGHT)
    start, turned_start = (
        theory.block_weights(x, clusters.labels, RANKS, noise_std=SIGMA, weight_decay=DECAY, rotation_steps=0)
        for x in (clusters.x, clusters.x @ rotation.T)
    )
    np.testing.assert_allclose(turned_start.encoder, rotation @ start.encoder, rtol=0, atol=1e-10)


def test_scaling_and_order_of_the_samples(clusters, blocks, key):
    """(cx, cσ, c²λ) has the same solution, and so has any order of the samples."""
    names = theory.block_of_neuron(RANKS)
    scaled = theory.block_weights(7 * clusters.x, clusters.labels, RANKS, noise_std=7 * SIGMA, weight_decay=49 * DECAY)
    order = jax.random.permutation(key, len(clusters.x))
    shuffled = theory.block_weights(
        clusters.x[order], clusters.labels[order], RANKS, noise_std=SIGMA, weight_decay=DECAY
    )
    for other in (scaled, shuffled):
        np.testing.assert_allclose(filters(other, names), filters(blocks, names), rtol=0, atol=TIGHT)


def test_blocks_at_full_rank_and_in_the_limits(clusters):
    """p_k = rank, σ → 0 and λ → 0: the filter becomes the projection onto the span of the cluster."""
    few = np.concatenate([np.flatnonzero(clusters.labels == k)[:4] for k in range(3)])
    x, labels = clusters.x[few], clusters.labels[few]
    weights = theory.block_weights(x, labels, (4, 4, 4), noise_std=0.0, weight_decay=0.0, rotation_steps=0)
    for measured, k in zip(filters(weights, theory.block_of_neuron((4, 4, 4))), range(3), strict=True):
        cluster = np.asarray(x[labels == k])
        np.testing.assert_allclose(cluster @ measured, cluster, rtol=0, atol=1e-11)
        np.testing.assert_allclose(measured @ measured, measured, rtol=0, atol=1e-11)


def test_memorizing_weights_are_the_formula(key):
    x = simplex(5, 8, 3.0, key)
    weights = theory.memorizing_weights(x, noise_std=SIGMA, weight_decay=DECAY, width=9)
    squares = np.sum(np.asarray(x) ** 2, axis=1)
    r = np.sqrt((squares - 5 * DECAY) / (squares**2 + SIGMA**2 * squares))
    np.testing.assert_allclose(weights.encoder[:, :5], (r[:, None] * x).T, rtol=0, atol=TIGHT)
    np.testing.assert_array_equal(weights.encoder[:, 5:], 0)
    np.testing.assert_array_equal(weights.decoder, weights.encoder)
    # one-hot representation with height r_i‖x_i‖², and a Jacobian with one singular value, the gain
    np.testing.assert_allclose(model.represent(weights, x)[:, :5], np.diag(r * squares), rtol=0, atol=TIGHT)
    gains = theory.memorizing_gains(x, noise_std=SIGMA, weight_decay=DECAY)
    singular = jnp.linalg.svd(jax.vmap(model.jacobian, in_axes=(None, 0))(weights, x), compute_uv=False)
    np.testing.assert_allclose(singular[:, 0], gains, rtol=0, atol=TIGHT)
    np.testing.assert_allclose(singular[:, 1:], 0, atol=TIGHT)


def test_memorizing_is_a_block_for_every_sample(key):
    x = simplex(4, 6, 2.0, key) * jnp.array([1.0, 1.5, 2.0, 0.7])[:, None]
    numbers: Any = {"noise_std": 0.3, "weight_decay": 0.02, "width": 6}
    blocks = theory.block_weights(x, jnp.arange(4), (1, 1, 1, 1), **numbers)
    np.testing.assert_allclose(blocks.encoder, theory.memorizing_weights(x, **numbers).encoder, rtol=0, atol=TIGHT)


def test_one_sample_without_noise_is_reproduced():
    x = jnp.array([[3.0, 4.0]])
    weights = theory.memorizing_weights(x, noise_std=0.0, weight_decay=0.0)
    np.testing.assert_allclose(model.denoise(weights, x), x, rtol=1e-15)
    np.testing.assert_allclose(weights.encoder[:, 0], x[0] / 5, rtol=1e-15)


@pytest.mark.parametrize("copies", [1, 20])
def test_duplicates_are_a_block_of_rank_one(clusters, copies):
    """[X3] by its printed formula; and the other clusters keep their blocks, whose shares the copies dilute."""
    point = jnp.full((10,), 0.5).at[0].set(-4.0)
    x = jnp.concatenate([clusters.x, jnp.tile(point[None], (copies, 1))])
    labels = np.append(clusters.labels, np.full(copies, 3))
    weights = theory.block_weights(x, labels, (*RANKS, 1), noise_std=SIGMA, weight_decay=DECAY, rotation_steps=0)
    square, n = float(point @ point), len(x)
    r_squared = (copies * square - n * DECAY) / (copies * square * (square + SIGMA**2))
    np.testing.assert_allclose(weights.encoder[:, -1], np.sqrt(r_squared) * point, rtol=0, atol=TIGHT)
    norm = theory.duplicate_norm_squared(point, copies=copies, samples=n, noise_std=SIGMA, weight_decay=DECAY)
    np.testing.assert_allclose(norm, r_squared * square, rtol=TIGHT)


def test_survival_of_copies():
    """m* = nλ/‖x‖²: the norm is zero up to it, positive after it, and differentiable there by m."""
    x = jnp.array([0.6, 0.8])
    threshold = theory.survival_copies(x, samples=50, weight_decay=0.1)
    np.testing.assert_allclose(threshold, 5.0, rtol=1e-14)

    def norm(copies):
        return theory.duplicate_norm_squared(x, copies=copies, samples=50, noise_std=0.2, weight_decay=0.1)

    values = jax.vmap(norm)(jnp.array([2.0, 4.0, 6.0, 50.0]))
    np.testing.assert_allclose(values, [0, 0, (6 - 5) / (6 * 1.04), (50 - 5) / (50 * 1.04)], rtol=1e-13)
    np.testing.assert_allclose(jax.grad(norm)(6.0), 5 / 36 / 1.04, rtol=1e-13)


def test_jit_vmap_and_single_precision(clusters, blocks):
    """Compiled over x, σ and λ, mapped over σ, and in float32, the weights are the same."""
    labels, names = np.asarray(clusters.labels), theory.block_of_neuron(RANKS)

    def solve(x, noise_std, weight_decay):
        return theory.block_weights(x, labels, RANKS, noise_std=noise_std, weight_decay=weight_decay)

    mapped = jax.jit(jax.vmap(solve, in_axes=(None, 0, None)))(clusters.x, jnp.array([SIGMA, 2 * SIGMA]), DECAY)
    first = jax.tree.map(lambda leaf: leaf[0], mapped)
    np.testing.assert_allclose(filters(first, names), filters(blocks, names), rtol=0, atol=TIGHT)
    single = solve(clusters.x.astype(jnp.float32), SIGMA, DECAY)
    assert single.encoder.dtype == jnp.float32
    np.testing.assert_allclose(filters(single, names), filters(blocks, names), rtol=0, atol=2e-5)


def test_width_is_padded_with_zero_columns(clusters, blocks):
    numbers: Any = {"noise_std": SIGMA, "weight_decay": DECAY, "rotation_steps": 0}
    wide = theory.block_weights(clusters.x, clusters.labels, RANKS, **numbers, width=12)
    np.testing.assert_array_equal(wide.encoder[:, 9:], 0)
    np.testing.assert_array_equal(theory.block_of_neuron(RANKS, 12), [0, 0, 0, 1, 1, 1, 2, 2, 2, -1, -1, -1])
    some = theory.block_weights(clusters.x, clusters.labels, (3, 0, 3), **numbers)
    np.testing.assert_allclose(some.encoder, jnp.delete(wide.encoder[:, :9], jnp.arange(3, 6), axis=1), rtol=1e-14)


def test_block_refusals(refused, clusters):
    x, labels = np.asarray(clusters.x), np.asarray(clusters.labels)

    def solve(x=x, labels=labels, ranks=RANKS, noise_std=SIGMA, weight_decay=DECAY, **settings):
        return theory.block_weights(x, labels, ranks, noise_std=noise_std, weight_decay=weight_decay, **settings)

    smallest = 0.4**2 / 3
    bad = {
        "x": [{"x": x[0]}, {"x": np.where(x == x[0, 0], np.nan, x)}, {"x": "data"}],
        "labels": [
            {"labels": labels[:-1]},
            {"labels": labels + 1},
            {"labels": labels - 1},
            {"labels": labels.astype(float)},
            {"ranks": (3, 3)},
            {"ranks": (3, 3, 3, 1)},
        ],
        "ranks": [
            {"ranks": (3, 3, 11)},
            {"ranks": (3, 3, 6)},
            {"ranks": (0, 0, 0)},
            {"ranks": (3, 3, -1)},
            {"ranks": (3.0, 3.0, 3.0)},
            {"ranks": ()},
        ],
        "noise_std": [{"noise_std": -1.0}, {"noise_std": np.nan}, {"noise_std": np.ones(2)}],
        "weight_decay": [{"weight_decay": -1.0}, {"weight_decay": 2 * smallest}, {"weight_decay": np.inf}],
        "width": [{"width": 8}, {"width": 9.0}],
        "rotation_steps": [{"rotation_steps": -1}],
    }
    for argument, cases in bad.items():
        for case in cases:
            with refused(argument):
                solve(**case)
    with refused("labels"):
        jax.jit(lambda labels: solve(labels=labels))(labels)
    with refused("ranks"):  # ten copies of one sample are a cluster of rank 1
        theory.block_weights(np.ones((10, 4)), np.zeros(10, int), (2,), noise_std=0.1, weight_decay=0.0)


def test_memorizing_and_duplicate_refusals(refused):
    x = np.eye(3)
    with refused("weight_decay"):
        theory.memorizing_weights(x, noise_std=SIGMA, weight_decay=1 / 3)
    with refused("noise_std"):
        theory.memorizing_weights(x, noise_std=-SIGMA, weight_decay=0.0)
    with refused("width"):
        theory.memorizing_weights(x, noise_std=SIGMA, weight_decay=0.0, width=2)
    with refused("x"):
        theory.memorizing_weights(x - np.eye(3)[0][None], noise_std=SIGMA, weight_decay=0.0)
    with refused("x"):
        theory.survival_copies(np.array([np.nan]), samples=2, weight_decay=0.0)
    for argument, case in {
        "copies": {"copies": 4},
        "samples": {"samples": -1},
        "weight_decay": {"weight_decay": -1},
    }.items():
        with refused(argument):
            theory.duplicate_norm_squared(
                x[0], **({"copies": 1, "samples": 3, "noise_std": 0.1, "weight_decay": 0.0} | case)
            )
    with refused("copies"):
        theory.duplicate_norm_squared(x[0], copies=0, samples=3, noise_std=0.1, weight_decay=0.0)
