"""The mixture of eq. (4) and the simplex of means: moments against Monte Carlo, geometry against the definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import data

PROPORTIONS = (0.5, 0.3, 0.2)


@pytest.fixture(scope="module")
def mixture():
    return data.simplex_mixture(
        jax.random.key(3), dimension=6, components=3, radius=2.0, rank=2, spread=0.7, proportions=PROPORTIONS
    )


@pytest.fixture(scope="module")
def samples(mixture):
    return mixture.sample(jax.random.key(4), 20_000)


def z_scores(values, expected):
    """|mean − expected| of values (n, ...) in units of the mean's standard error."""
    return np.abs(np.mean(values, axis=0) - expected) / (np.std(values, axis=0, ddof=1) / np.sqrt(len(values)))


def test_labels_follow_the_proportions(samples):
    one_hot = np.asarray(samples.labels)[:, None] == np.arange(3)
    assert samples.labels.dtype == jnp.int32
    assert np.max(z_scores(one_hot, np.asarray(PROPORTIONS))) <= 5


@pytest.mark.parametrize("component", range(3))
def test_sampled_moments_are_those_of_the_component(mixture, samples, component):
    x = np.asarray(samples.x)[np.asarray(samples.labels) == component]
    upper = np.triu_indices(6)
    assert np.max(z_scores(x, np.asarray(mixture.means[component]))) <= 5
    products = (x[:, :, None] * x[:, None, :])[:, *upper]
    assert np.max(z_scores(products, np.asarray(mixture.second_moments()[component])[upper])) <= 5


def test_samples_lie_in_the_affine_subspace_of_their_label(mixture, samples):
    labels = np.asarray(samples.labels)
    apart = np.asarray(samples.x) - np.asarray(mixture.means)[labels]
    basis = np.asarray(mixture.factors)[labels] / 0.7
    within = np.einsum("ndr,nd->nr", basis, apart)
    np.testing.assert_allclose(np.einsum("ndr,nr->nd", basis, within), apart, atol=1e-12)


def test_second_moments_are_mean_and_covariance(mixture):
    for k in range(3):
        mean, factor = np.asarray(mixture.means[k]), np.asarray(mixture.factors[k])
        np.testing.assert_allclose(mixture.covariances()[k], factor @ factor.T, atol=1e-14)
        np.testing.assert_allclose(mixture.second_moments()[k], np.outer(mean, mean) + factor @ factor.T, atol=1e-14)


def test_first_samples_do_not_depend_on_their_number(mixture, samples):
    few = mixture.sample(jax.random.key(4), 12)
    np.testing.assert_array_equal(few.labels, samples.labels[:12])
    np.testing.assert_allclose(few.x, samples.x[:12], rtol=0, atol=1e-14)


def test_balanced_samples(mixture, key):
    few = mixture.sample_balanced(jax.random.clone(key), 4)
    many = mixture.sample_balanced(key, 50)
    np.testing.assert_array_equal(np.bincount(np.asarray(many.labels)), [50, 50, 50])
    np.testing.assert_array_equal(few.labels, many.labels[:12])
    np.testing.assert_allclose(few.x, many.x[:12], rtol=0, atol=1e-14)


def test_component_samples_use_that_component_alone(mixture, key):
    for k in range(3):
        one = mixture.sample_component(jax.random.clone(key), k, 12)
        np.testing.assert_array_equal(one.labels, np.full(12, k))
        apart, factor = np.asarray(one.x) - np.asarray(mixture.means)[k], np.asarray(mixture.factors)[k]
        leftover = apart - apart @ factor @ factor.T / 0.49
        np.testing.assert_allclose(leftover, 0, atol=1e-12)


def test_sampling_under_jit_and_vmap(mixture, key):
    keys = jax.random.split(key, 3)
    radii = jnp.asarray([0.5, 1.0, 2.0])

    def draw(key, radius):
        return mixture.replace(means=radius * mixture.means).sample(key, 12)

    together = jax.jit(jax.vmap(draw))(jax.random.clone(keys), radii)
    for i in range(3):
        alone = draw(jax.random.clone(keys[i]), radii[i])
        np.testing.assert_array_equal(together.labels[i], alone.labels)
        np.testing.assert_allclose(together.x[i], alone.x, rtol=0, atol=1e-14)


def test_samples_move_with_the_means(mixture, key):
    """x = μ_k + F_k z, so the sum of the samples has slope n_k in every coordinate of μ_k."""
    labels = mixture.sample(jax.random.clone(key), 12).labels
    slope = jax.grad(lambda means: mixture.replace(means=means).sample(jax.random.clone(key), 12).x.sum())(
        mixture.means
    )
    np.testing.assert_allclose(slope, np.tile(np.bincount(labels, minlength=3)[:, None], (1, 6)), atol=1e-12)


@pytest.mark.parametrize(("dimension", "components"), [(2, 3), (9, 10), (6, 3)])
def test_simplex_means_are_equally_obtuse(key, dimension, components):
    means = data.simplex_means(key, dimension=dimension, components=components, radius=1.5)
    expected = 1.5**2 * np.where(np.eye(components) > 0, 1.0, -1 / (components - 1))
    np.testing.assert_allclose(means @ means.T, expected, atol=1e-13)


def test_one_component_has_some_direction(key):
    means = data.simplex_means(key, dimension=6, components=1, radius=1.5)
    np.testing.assert_allclose(jnp.linalg.norm(means, axis=1), 1.5, rtol=1e-14)


def test_spread_is_equal_in_rank_directions(mixture):
    gram = np.swapaxes(mixture.factors, 1, 2) @ np.asarray(mixture.factors)
    np.testing.assert_allclose(gram, np.tile(0.49 * np.eye(2), (3, 1, 1)), atol=1e-14)


def test_clean_spread_leaves_the_means_alone(key):
    clean = data.simplex_mixture(key, dimension=6, components=3, radius=2.0, rank=2, spread=0.5, clean=True)
    np.testing.assert_allclose(np.einsum("ld,kdr->klr", clean.means, clean.factors), 0, atol=1e-14)
    eigenvalues = np.linalg.eigvalsh(clean.second_moments())[:, ::-1]
    np.testing.assert_allclose(eigenvalues, np.tile([4, 0.25, 0.25, 0, 0, 0], (3, 1)), atol=1e-13)


def test_orientations_are_uniform(key):
    """E[μ μᵀ] = R²/d and E‖Qᵀμ‖² = R² r/d: neither the means nor the directions of spread prefer anything."""
    drawn = jax.jit(
        jax.vmap(lambda key: data.simplex_mixture(key, dimension=6, components=3, radius=1.0, rank=2, spread=1.0))
    )(jax.random.split(key, 1000))
    means, upper = np.asarray(drawn.means[:, 0]), np.triu_indices(6)
    assert np.max(z_scores(means, 0)) <= 5
    assert np.max(z_scores((means[:, :, None] * means[:, None, :])[:, *upper], (np.eye(6) / 6)[upper])) <= 5
    share = np.sum(np.einsum("skdr,sld->sklr", drawn.factors, drawn.means) ** 2, axis=3)
    assert np.max(z_scores(share, 2 / 6)) <= 5


def test_no_spread_gives_the_means_themselves(key):
    mean_key, sample_key = jax.random.split(key)
    points = data.simplex_mixture(mean_key, dimension=6, components=3, radius=1.0, rank=2, spread=0.0)
    drawn = points.sample(sample_key, 12)
    np.testing.assert_allclose(drawn.x, points.means[drawn.labels], atol=1e-15)


def test_precision_follows_the_means(mixture, key):
    single = mixture.replace(means=mixture.means.astype(jnp.float32))
    assert single.sample_balanced(key, 4).x.dtype == jnp.float32
    assert single.second_moments().dtype == jnp.float32


@pytest.mark.parametrize(
    ("argument", "change"),
    [
        ("components", {"components": 6}),
        ("components", {"components": 0}),
        ("dimension", {"dimension": 0}),
        ("rank", {"rank": 5}),
        ("rank", {"rank": 0}),
        ("rank", {"rank": 3, "clean": True}),
        ("radius", {"radius": 0.0}),
        ("radius", {"radius": float("nan")}),
        ("spread", {"spread": -0.1}),
        ("proportions", {"proportions": [0.5, 0.5]}),
        ("proportions", {"proportions": [0.5, 0.5, 0.5]}),
        ("proportions", {"proportions": [0.5, 0.6, -0.1]}),
        ("proportions", {"proportions": [0.5, 0.5, 0.0]}),
        ("key", {"key": jnp.zeros(2, dtype=jnp.uint32)}),
    ],
)
def test_bad_simplex_mixtures_are_refused(refused, argument, change):
    arguments = {"key": jax.random.key(0), "dimension": 4, "components": 3, "radius": 1.0, "rank": 1, "spread": 0.1}
    with refused(argument):
        data.simplex_mixture(**(arguments | change))


@pytest.mark.parametrize(
    ("argument", "change"),
    [
        ("means", {"means": jnp.full((3, 6), jnp.nan)}),
        ("means", {"means": jnp.ones(6)}),
        ("factors", {"factors": jnp.ones((2, 6, 1))}),
        ("factors", {"factors": jnp.ones((3, 5, 1))}),
        ("proportions", {"proportions": jnp.ones(3)}),
    ],
)
def test_bad_mixtures_are_refused_where_they_are_used(mixture, refused, argument, change):
    with refused(argument):
        mixture.replace(**change).sample(jax.random.key(0), 3)


def test_bad_sample_sizes_are_refused(mixture, refused):
    for n in (0, -1, 2.0):
        with refused("n"):
            mixture.sample(jax.random.key(0), n)
    with refused("per_component"):
        mixture.sample_balanced(jax.random.key(0), 0)
    with refused("component"):
        mixture.sample_component(jax.random.key(0), 3, 4)


def test_a_fit_of_full_rank_has_the_moments_of_the_samples(samples):
    x, labels = np.asarray(samples.x, float), np.asarray(samples.labels)
    fitted = data.fit_mixture(x, labels, 6)
    np.testing.assert_allclose(fitted.proportions, np.bincount(labels) / len(x), rtol=1e-12)
    for k in range(3):
        rows = x[labels == k]
        np.testing.assert_allclose(fitted.second_moments()[k], rows.T @ rows / len(rows), rtol=1e-9, atol=1e-12)


def test_a_fit_is_the_closest_of_its_rank_and_pads_small_components_with_zeros(samples):
    x = np.asarray(samples.x, float)[:200]
    labels = np.asarray(["large"] * 198 + ["small"] * 2)
    covariance = np.cov(x[:198].T, bias=True)
    for rank in (1, 3):
        fitted = data.fit_mixture(x, labels, rank)
        missing = np.linalg.eigvalsh(covariance)[: 6 - rank]  # Eckart and Young: what a rank leaves out at least
        gap = np.linalg.norm(covariance - fitted.covariances()[0])
        np.testing.assert_allclose(gap, np.linalg.norm(missing), rtol=1e-9, atol=1e-12)
        assert np.linalg.matrix_rank(fitted.factors[1]) == 1


def test_a_fit_finds_the_mixture_its_samples_come_from(mixture, samples):
    fitted = data.fit_mixture(samples.x, samples.labels, 2)
    x, labels = np.asarray(samples.x, float), np.asarray(samples.labels)
    for k in range(3):
        rows = x[labels == k] - np.asarray(mixture.means[k])
        assert np.max(z_scores(rows, np.asarray(fitted.means[k] - mixture.means[k]))) < 1e-6
        products = rows[:, :, None] * rows[:, None, :]
        error = np.std(products, axis=0, ddof=1) / np.sqrt(len(rows)) + 1e-12
        assert np.max(np.abs(fitted.covariances()[k] - mixture.covariances()[k]) / error) <= 5


def test_a_fit_refuses_what_it_cannot_use(samples, refused):
    x, labels = samples.x[:50], samples.labels[:50]
    with refused("labels"):
        data.fit_mixture(x, labels[:-1], 2)
    with refused("rank"):
        data.fit_mixture(x, labels, 7)
    with refused("rank"):
        data.fit_mixture(x, labels, 0)
    with refused("x"):
        data.fit_mixture(x.at[0, 0].set(np.nan), labels, 2)
