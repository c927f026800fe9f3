"""The exact risk: against sampling, limits, symmetries, finite differences and the analytic solutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import risk, theory
from dae_theory.data import GaussianMixture, simplex_mixture
from dae_theory.model import Weights, denoise

N, D, P = 6, 4, 6
SIGMA, DECAY = 0.4, 0.05


def _loss(weights, x, noise_std=SIGMA, **options):
    return risk.expected_loss(weights, x, noise_std=noise_std, weight_decay=DECAY, **options)


_EVALUATE = jax.jit(jax.value_and_grad(_loss, argnums=(0, 1, 2)))


def _value(weights, x, noise_std=SIGMA):
    return _EVALUATE(weights, x, noise_std)[0]


def _gradient(weights, x, noise_std=SIGMA):
    return _EVALUATE(weights, x, noise_std)[1][0]


@pytest.fixture
def x(key):
    return jax.random.normal(jax.random.fold_in(key, 100), (N, D))


@pytest.fixture
def weights(key):
    """Random columns, then one parallel to the first, one opposite to it, and a zero column."""
    encoder, decoder = (jax.random.normal(jax.random.fold_in(key, index), (D, P)) for index in (101, 102))
    encoder = encoder.at[:, 3].set(2 * encoder[:, 0]).at[:, 4].set(-0.5 * encoder[:, 0]).at[:, 5].set(0)
    return Weights(decoder=0.5 * decoder, encoder=0.5 * encoder)


def _dot(first, second):
    return sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True))


def _along(start, direction, step):
    return jax.tree.map(lambda a, b: a + step * b, start, direction)


def _random_like(key, tree):
    leaves, structure = jax.tree.flatten(tree)
    draws = [jax.random.normal(jax.random.fold_in(key, index), leaf.shape) for index, leaf in enumerate(leaves)]
    return jax.tree.unflatten(structure, draws)


def test_loss_is_the_mean_over_noise(key, weights, x):
    sampled = risk.sampled_loss(key, weights, x, noise_std=SIGMA, weight_decay=DECAY, draws=4000)
    assert abs(sampled.mean - _value(weights, x)) < 5 * sampled.sem
    assert 0 < sampled.sem < 0.02 * sampled.mean


def test_standard_error_is_the_spread_over_keys(key, weights, x):
    sample = lambda k: risk.sampled_loss(k, weights, x, noise_std=SIGMA, weight_decay=DECAY, draws=32)  # noqa: E731
    many = jax.jit(jax.vmap(sample))(jax.random.split(key, 200))
    # a standard deviation over 200 keys is known to 5 %
    assert abs(jnp.std(many.mean, ddof=1) / jnp.sqrt(jnp.mean(many.sem**2)) - 1) < 0.25


def test_loss_without_noise_is_the_plain_loss(weights, x):
    plain = jnp.mean(jnp.sum((denoise(weights, x) - x) ** 2, axis=1)) + DECAY * _dot(weights, weights)
    for noise_std in (0.0, 1e-12):
        np.testing.assert_allclose(_value(weights, x, noise_std), plain, rtol=1e-11)
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(_EVALUATE(weights, x, 0.0)))
    small, smaller = (_value(weights, x, noise_std) - plain for noise_std in (2e-3, 1e-3))
    np.testing.assert_allclose(small / smaller, 4, rtol=1e-2)  # σ² where no pre-activation is near zero


def test_gradient_is_the_slope_even_at_parallel_and_opposite_columns(key, weights, x):
    """In weights, samples and noise; the zero column has a kink and stays."""
    start = weights, x, jnp.array(SIGMA)
    change, *others = _random_like(key, start)
    direction = Weights(change.decoder, change.encoder.at[:, 5].set(0)), *others
    step = 1e-5
    slope = sum(sign * _value(*_along(start, direction, sign * step)) for sign in (1, -1)) / (2 * step)
    np.testing.assert_allclose(_dot(_EVALUATE(*start)[1], direction), slope, rtol=1e-7)


def test_gradient_at_a_zero_column_is_the_mean_of_the_two_slopes(key, weights, x):
    direction = jax.random.normal(key, (D,))

    def moved(step):
        return _value(Weights(weights.decoder, weights.encoder.at[:, 5].set(step * direction)), x)

    slopes = [(moved(sign * 1e-6) - moved(0.0)) / (sign * 1e-6) for sign in (1, -1)]
    given = _gradient(weights, x).encoder[:, 5] @ direction
    np.testing.assert_allclose(given, sum(slopes) / 2, rtol=1e-5)
    assert abs(slopes[0] - slopes[1]) > 1e-2  # there is a kink


def test_second_derivatives_are_slopes_of_the_gradient_by_both_modes(key, weights, x):
    """At parallel and opposite columns too, where the loss has two derivatives and not three.

    There 1 − ρ² is known to rounding only, and its root, √ε = 1.5e-8, enters the second derivatives.
    """
    direction = _random_like(key, weights)
    direction = Weights(direction.decoder, direction.encoder.at[:, 5].set(0))
    gradient = jax.grad(_loss)
    forward = jax.jit(lambda w: jax.jvp(lambda v: gradient(v, x), (w,), (direction,))[1])(weights)
    reverse = jax.jit(jax.grad(lambda w: _dot(gradient(w, x), direction)))(weights)
    step = 1e-6
    ahead, behind = (_gradient(_along(weights, direction, sign * step), x) for sign in (1, -1))
    slope = jax.tree.map(lambda a, b: (a - b) / (2 * step), ahead, behind)
    for one, other, numeric in zip(*map(jax.tree.leaves, (forward, reverse, slope)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1.5e-8, atol=1.5e-8)
        np.testing.assert_allclose(one, numeric, rtol=1e-5, atol=1e-5)


def test_symmetries(key, weights, x):
    loss = _value(weights, x)
    order = jnp.array([4, 2, 0, 5, 1, 3])
    permuted = jax.tree.map(lambda columns: columns[:, order], weights)
    rotation, _ = jnp.linalg.qr(jax.random.normal(key, (D, D)))
    rotated = jax.tree.map(lambda columns: rotation @ columns, weights)
    np.testing.assert_allclose(_value(permuted, x), loss, rtol=1e-13)
    np.testing.assert_allclose(_value(rotated, x @ rotation.T), loss, rtol=1e-13)
    # columns 0.6 w and 0.8 w act as w, and have its norm
    split = jax.tree.map(lambda columns: columns.at[:, 5].set(0.8 * columns[:, 1]).at[:, 1].multiply(0.6), weights)
    without = Weights(weights.decoder.at[:, 5].set(0), weights.encoder)
    one, other = _EVALUATE(split, x, SIGMA), _EVALUATE(without, x, SIGMA)
    np.testing.assert_allclose(one[0], other[0], rtol=1e-13)
    np.testing.assert_allclose(_dot(one[1], one[1]), _dot(other[1], other[1]), rtol=1e-12)


@pytest.mark.parametrize(("width", "together"), [(1, 1), (5, 4)])
def test_odd_widths_in_chunks(key, weights, x, width, together):
    """Fewer neurons are zero columns, and samples may be taken a few at a time; the last chunk is half empty here."""
    few = jax.tree.map(lambda columns: columns[:, :width], weights)
    padded = jax.tree.map(lambda columns: columns.at[:, width:].set(0), weights)
    memory = 24 * 8 * together * width
    value, gradient = jax.value_and_grad(_loss)(few, x, memory=memory)
    np.testing.assert_allclose(value, _value(padded, x), rtol=1e-13)
    expected = jax.tree.map(lambda columns: columns[:, :width], _gradient(padded, x))
    for one, other in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_padding_rows_members_and_grids_under_vmap(weights, x):
    padded = jnp.concatenate([x, 7 * jnp.ones((3, D))])
    members = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), weights)
    lifted = jax.jit(jax.vmap(lambda w, sigma, count: _loss(w, padded, sigma, samples=count)))
    values = lifted(members, jnp.array([0.1, 0.7]), jnp.array([N, 3]))
    twice = jax.tree.map(lambda leaf: 2 * leaf, weights)
    alone = jnp.concatenate([x[:3], x[:3]])  # the same mean over samples
    np.testing.assert_allclose(values, [_value(weights, x, 0.1), _value(twice, alone, 0.7)], rtol=1e-13)


def test_memory_stays_bounded():
    """Value and gradient of 10,000 samples and 100 neurons hold less than 1 GiB, whatever the number of pairs."""
    columns = jax.ShapeDtypeStruct((8, 100), jnp.float64)
    x = jax.ShapeDtypeStruct((10_000, 8), jnp.float64)
    evaluate = jax.value_and_grad(lambda *matrices: _loss(Weights(*matrices[:2]), matrices[2]), argnums=(0, 1))
    compiled = jax.jit(evaluate).lower(columns, columns, x).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 2**30


def test_single_precision_is_kept(weights, x):
    small = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), weights)
    value = _loss(small, x.astype(jnp.float32))
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, _value(weights, x), rtol=1e-5)


def test_mixture_loss_is_the_mean_over_fresh_samples(key, weights):
    mixture = simplex_mixture(key, dimension=D, components=3, radius=1.0, rank=2, spread=0.5)
    exact = risk.mixture_losses(weights, mixture, noise_std=SIGMA)
    samples = mixture.sample_balanced(jax.random.fold_in(key, 1), 20_000)
    noise = jax.random.normal(jax.random.fold_in(key, 2), samples.x.shape)
    error = jnp.sum((denoise(weights, samples.x + SIGMA * noise) - samples.x) ** 2, axis=1)
    for component in range(3):
        own = error[samples.labels == component]
        assert abs(jnp.mean(own) - exact[component]) < 5 * jnp.std(own) / len(own) ** 0.5
    np.testing.assert_allclose(
        risk.mixture_loss(weights, mixture, noise_std=SIGMA), mixture.proportions @ exact, rtol=1e-14
    )


def test_a_component_without_spread_is_a_sample(weights, x):
    mixture = GaussianMixture(jnp.full(N, 1 / N), x, jnp.zeros((N, D, 1)))
    exact = _value(weights, x) - DECAY * _dot(weights, weights)
    np.testing.assert_allclose(risk.mixture_loss(weights, mixture, noise_std=SIGMA), exact, rtol=1e-12)


def test_population_weights_have_their_predicted_test_loss(key):
    """[X4] where the gates are sure, and where the printed bound is far off."""
    mixture = simplex_mixture(key, dimension=D, components=3, radius=12.0, rank=2, spread=0.3, clean=True)
    weights = theory.population_weights(mixture, (2, 2, 2), noise_std=0.2, weight_decay=0.0)
    exact = risk.mixture_loss(weights, mixture, noise_std=0.2)
    np.testing.assert_allclose(exact, theory.population_loss(mixture, (2, 2, 2), noise_std=0.2), rtol=1e-10)
    assert theory.printed_population_loss(mixture, (2, 2, 2), noise_std=0.2) < 0.9 * exact


def _simplex():
    corners = np.eye(5) - 1 / 5
    return jnp.array(np.pad(3 * corners / np.linalg.norm(corners[0]), ((0, 0), (0, 5))))


def test_memorizing_weights_are_stationary():
    """Cor. 3.2 on the simplex n = p = 5, d = 10, R = 3, λ = 1e-3, to machine precision while the margin is wide."""
    x = _simplex()
    evaluate = jax.jit(
        jax.value_and_grad(lambda w, sigma: risk.expected_loss(w, x, noise_std=sigma, weight_decay=1e-3))
    )
    for noise_std in (0.02, 0.05, 0.1):
        value, gradient = evaluate(theory.memorizing_weights(x, noise_std=noise_std, weight_decay=1e-3), noise_std)
        assert _dot(gradient, gradient) ** 0.5 <= 1e-13
        objective = theory.memorizing_objective(x, noise_std=noise_std, weight_decay=1e-3)
        np.testing.assert_allclose(value, objective, rtol=1e-12)


def test_refusals(key, weights, x, refused):
    good = {"noise_std": SIGMA, "weight_decay": DECAY}
    cases = [
        ("x", {"x": x[:, :3]}),
        ("x", {"x": x.at[0, 0].set(jnp.nan)}),
        ("noise_std", {"noise_std": -1.0}),
        ("weight_decay", {"weight_decay": -1.0}),
        ("decoder", {"weights": Weights(weights.decoder.at[0, 0].set(jnp.inf), weights.encoder)}),
        ("samples", {"samples": N + 1}),
    ]
    for name, change in cases:
        with refused(name):
            risk.expected_loss(**{"weights": weights, "x": x, **good, **change})
    with refused("draws"):
        risk.sampled_loss(key, weights, x, **good, draws=1)
    with refused("key"):
        risk.sampled_loss(jax.random.PRNGKey(0), weights, x, **good, draws=2)
    with refused("x"):
        risk.network_distance(weights, jax.tree.map(lambda columns: columns[:3], weights), x, noise_std=SIGMA)
    with refused("weights"):
        risk.network_distance(weights, "net", x, noise_std=SIGMA)
    with refused("noise_std"):
        risk.network_distance(weights, weights, x, noise_std=-0.1)
    with refused("samples"):
        risk.network_distance(weights, weights, x, noise_std=SIGMA, samples=0)
    with refused("proportions"):
        mixture = GaussianMixture(np.ones(3) / 3, x[:2], np.zeros((2, D, 1)))
        risk.mixture_network_distance(weights, weights, mixture, noise_std=SIGMA)
    for wrong in ([0.3, 0.3], [1.5, -0.5]):
        mixture = GaussianMixture(jnp.asarray(wrong), x[:2], jnp.zeros((2, D, 1)))
        with refused("proportions"):
            risk.mixture_network_distance(weights, weights, mixture, noise_std=SIGMA)
        with refused("proportions"):
            risk.mixture_loss(weights, mixture, noise_std=SIGMA)
    with refused("slope"):
        risk.affine_distance(weights, x, np.eye(3), np.zeros(D), noise_std=SIGMA)
    with refused("factors"):
        risk.mixture_losses(weights, GaussianMixture(np.ones(2) / 2, x[:2], np.zeros((3, D, 1))), noise_std=SIGMA)
