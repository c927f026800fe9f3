"""Def. 3.1 against its definition, and the search for separable rows against all subsets."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import data


def definition(x, labels):
    """(α, β) straight from Def. 3.1, by loops."""
    means = {k: np.mean(x[labels == k], axis=0) for k in set(labels.tolist())}
    alpha = max(np.linalg.norm(v - means[k]) / np.linalg.norm(means[k]) for v, k in zip(x, labels, strict=True))
    pairs = itertools.combinations(means.values(), 2)
    return alpha, max(a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs)


def largest_cosine(x, rows):
    directions = x[rows] / np.linalg.norm(x[rows], axis=1, keepdims=True)
    return np.max((directions @ directions.T)[np.triu_indices(len(rows), 1)])


@pytest.fixture(scope="module")
def clusters():
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([2, 5, 9], [4, 7, 1]))
    return 2 * np.eye(10, 4)[labels % 4] + rng.normal(size=(12, 4)), labels


def test_separability_is_its_definition(clusters):
    x, labels = clusters
    found = data.separability(x, labels)
    alpha, beta = definition(x, labels)
    np.testing.assert_allclose(found.alpha, alpha, rtol=1e-13)
    np.testing.assert_allclose(found.beta, beta, rtol=1e-13)


def test_the_worst_cluster_and_pair_attain_the_bounds(clusters):
    x, labels = clusters
    found = data.separability(x, labels)
    alone = labels == int(found.loosest_cluster)
    np.testing.assert_allclose(data.separability(x[alone], labels[alone]).alpha, found.alpha, rtol=1e-13)
    pair = np.isin(labels, np.asarray(found.closest_pair))
    np.testing.assert_allclose(data.separability(x[pair], labels[pair]).beta, found.beta, rtol=1e-13)
    assert found.closest_pair[0] < found.closest_pair[1]


def test_separability_does_not_move_under_rotation_scaling_and_order(clusters):
    x, labels = clusters
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    order = np.random.default_rng(2).permutation(12)
    found, moved = data.separability(x, labels), data.separability(3.7 * (x @ rotation)[order], labels[order])
    np.testing.assert_allclose([moved.alpha, moved.beta], [found.alpha, found.beta], rtol=1e-12)
    assert moved.loosest_cluster == found.loosest_cluster
    np.testing.assert_array_equal(moved.closest_pair, found.closest_pair)


def test_simplex_of_single_samples(key):
    means = data.simplex_means(key, dimension=8, components=5, radius=3.0)
    found = data.separability(means, jnp.arange(5))
    assert found.alpha == 0
    np.testing.assert_allclose(found.beta, -1 / 4, rtol=1e-12)


def test_one_cluster_has_no_pair():
    found = data.separability(np.asarray([[1.0, 0.0], [1.0, 1.0]]), np.asarray([4, 4]))
    np.testing.assert_allclose(found.alpha, 0.5 / np.hypot(1, 0.5), rtol=1e-14)
    assert found.beta == -jnp.inf
    np.testing.assert_array_equal(found.closest_pair, [4, 4])


def test_many_single_samples_in_blocks():
    x = np.random.default_rng(3).normal(size=(700, 3))
    found = data.separability(x, np.arange(700))
    np.testing.assert_allclose(found.beta, largest_cosine(x, np.arange(700)), rtol=1e-13)


def test_separability_has_the_slope_of_its_definition(clusters):
    x, labels = clusters
    direction = np.random.default_rng(4).normal(size=x.shape)
    step = 1e-6

    def found(x):
        record = data.separability(x, labels)
        return jnp.stack([record.alpha, record.beta])

    ahead, behind = (np.asarray(definition(x + sign * step * direction, labels)) for sign in (1, -1))
    along = np.einsum("ind,nd->i", jax.jit(jax.jacrev(found))(jnp.asarray(x)), direction)
    np.testing.assert_allclose(along, (ahead - behind) / (2 * step), rtol=1e-7)


def test_single_samples_have_no_slope_in_alpha():
    x = jnp.asarray(np.random.default_rng(11).normal(size=(3, 2)))
    slope = jax.jit(jax.grad(lambda x: data.separability(x, np.arange(3)).alpha))(x)
    np.testing.assert_array_equal(slope, np.zeros((3, 2)))


def test_clusters_of_mean_zero_are_refused(refused):
    v = np.random.default_rng(5).normal(size=(3, 4))
    with refused("x"):
        data.separability(np.concatenate([v, -v, v[:1]]), np.asarray([0] * 6 + [1]))
    with refused("x"):
        data.separability(np.zeros((1, 4)), np.asarray([0]))


@pytest.mark.parametrize("labels", [np.zeros(3), np.zeros(2, dtype=int), np.zeros((3, 1), dtype=int)])
def test_bad_labels_are_refused(refused, labels):
    with refused("labels"):
        data.separability(np.ones((3, 2)), labels)


def test_search_matches_all_subsets_of_ten():
    """Never below the best of all subsets, and equal to it in at least 9 of 10 random problems."""
    rng = np.random.default_rng(6)
    equal = 0
    for _ in range(30):
        x, count = rng.normal(size=(10, rng.integers(2, 8))), int(rng.integers(2, 8))
        best = min(largest_cosine(x, list(rows)) for rows in itertools.combinations(range(10), count))
        found = largest_cosine(x, np.asarray(data.most_separable(x, count)))
        assert found >= best - 1e-12
        equal += found <= best + 1e-12
    assert equal >= 27


def test_search_finds_a_hidden_simplex(key):
    """Five vertices of a simplex among 300 points of a narrow cone."""
    rng = np.random.default_rng(7)
    hidden = np.asarray(data.simplex_means(key, dimension=10, components=5, radius=1.0))
    x = np.concatenate([np.ones((300, 10)) + 0.2 * rng.normal(size=(300, 10)), hidden])
    order = rng.permutation(305)
    rows = data.most_separable(x[order], 5)
    np.testing.assert_array_equal(np.sort(order[np.asarray(rows)]), np.arange(300, 305))


def test_more_restarts_never_do_worse():
    """The starts of 1, 2, 3 are nested: the first of the ranking, then also its last, then also its middle."""
    x = np.random.default_rng(8).normal(size=(201, 6)) + 0.5
    cosines = [largest_cosine(x, np.asarray(data.most_separable(x, 8, restarts=r))) for r in (1, 2, 3, 201)]
    assert sorted(cosines, reverse=True) == cosines


def test_search_is_deterministic_and_free_of_scale():
    x = np.random.default_rng(9).normal(size=(60, 5))
    rows = data.most_separable(x, 6)
    np.testing.assert_array_equal(rows, data.most_separable(x, 6))
    np.testing.assert_array_equal(rows, data.most_separable(x * np.geomspace(0.1, 10, 60)[:, None], 6))
    assert rows.dtype == jnp.int32
    np.testing.assert_array_equal(rows, np.unique(rows))


def test_all_rows_or_one():
    x = np.random.default_rng(10).normal(size=(6, 3))
    np.testing.assert_array_equal(data.most_separable(x, 6), np.arange(6))
    assert data.most_separable(x, 1).shape == (1,)


def test_bad_searches_are_refused(refused):
    x = np.ones((3, 2))
    for count in (0, 4, 1.5):
        with refused("count"):
            data.most_separable(x, count)
    with refused("restarts"):
        data.most_separable(x, 2, restarts=0)
    with refused("x"):
        data.most_separable(np.zeros((3, 2)), 2)
