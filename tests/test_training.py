"""Training: the objective it follows, draws by identity, padding, history, and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dae_theory import batches, risk, training
from dae_theory.model import Weights, denoise
from dae_theory.randomness import derive
from dae_theory.training import Settings, train

SETTINGS = Settings(steps=30, width=6, learning_rate=1e-2, noise_std=0.2, weight_decay=1e-2)


@pytest.fixture(scope="module")
def x():
    return jax.random.normal(jax.random.key(3), (5, 4), jnp.float32)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("width", [3, 4, 6])  # held as (p, d) and as (d, p)
def test_one_step_of_gradient_descent_is_the_gradient_of_equation_6(key, x, tied, width):
    x = x.astype(jnp.float64)
    settings = Settings(
        steps=1,
        width=width,
        noise_std=0.3,
        weight_decay=0.05,
        learning_rate=0.1,
        tied=tied,
        optimizer=optax.sgd,
        schedule=training.constant_rate,
    )
    trained = train(key, x, settings)
    start = training.initial_weights(key, 4, width, scale=0.1, tied=tied, neurons=width, dtype=x.dtype)
    y = x + 0.3 * jax.random.normal(derive(key, "noise", 0), x.shape, x.dtype)

    def objective(decoder, encoder):
        error = jnp.mean(jnp.sum((denoise(Weights(decoder, encoder), y) - x) ** 2, axis=1))
        return error + 0.05 * (jnp.sum(decoder**2) + jnp.sum(encoder**2))

    by_decoder, by_encoder = jax.grad(objective, argnums=(0, 1))(start.decoder, start.encoder)
    if tied:
        by_decoder = by_encoder = by_decoder + by_encoder
    np.testing.assert_allclose(trained.weights.decoder, start.decoder - 0.1 * by_decoder, rtol=1e-12)
    np.testing.assert_allclose(trained.weights.encoder, start.encoder - 0.1 * by_encoder, rtol=1e-12)
    np.testing.assert_allclose(trained.history.loss, [objective(start.decoder, start.encoder)], rtol=1e-12)


def test_padding_samples_and_neurons_changes_no_number(key, x):
    plain = train(key, x, SETTINGS)
    padded = jnp.concatenate([x, jnp.full((3, 4), 1e6, x.dtype)])
    wide = train(key, padded, SETTINGS.replace(width=9), samples=jnp.asarray(5), neurons=jnp.asarray(6))
    np.testing.assert_allclose(wide.weights.encoder[:, :6], plain.weights.encoder, rtol=2e-5, atol=1e-6)
    np.testing.assert_array_equal(wide.weights.encoder[:, 6:], 0)
    np.testing.assert_array_equal(wide.weights.decoder[:, 6:], 0)


def _many(x, *, common=None, **changes):
    """(6) at the end of 200 steps, exactly, and the norm of the encoder, for 64 nets: (64, 2)."""
    settings = SETTINGS.replace(steps=200, **changes)

    def one(member):
        end = train(derive(jax.random.key(9), "net", member), x, settings, noise_key=common).weights
        return jnp.stack([risk.expected_loss(end, x, noise_std=0.2, weight_decay=1e-2), jnp.sum(end.encoder**2)])

    return np.asarray(jax.jit(jax.vmap(one))(jnp.arange(64)), np.float64)


@pytest.fixture(scope="module")
def apart(x):
    """`_many` with noise of their own."""
    return _many(x)


def test_hashed_noise_trains_to_the_same_means(x, apart):
    other = _many(x, hashed_noise=True)
    assert not np.array_equal(apart, other)
    difference = apart - other  # the initial weights are shared, so the difference of a net is the noise's alone
    z = difference.mean(0) / (difference.std(0, ddof=1) / 8)
    assert np.abs(z).max() < 5, z


def test_of_an_antithetic_pair_of_steps_the_odd_part_cancels(key, x):
    """Two steps small enough to leave the weights alone: their sum varies less over the noise, its mean is the same."""
    settings = SETTINGS.replace(
        steps=2, learning_rate=1e-3, init_scale=1.0, optimizer=optax.sgd, schedule=training.constant_rate
    )

    def moved(antithetic):
        chosen = settings.replace(antithetic=antithetic)
        keys = jax.random.split(jax.random.key(12), 200)
        ends = jax.vmap(lambda noise_key: train(key, x, chosen, noise_key=noise_key).weights.encoder)(keys)
        return np.asarray(ends, np.float64)

    apart, paired = moved(False), moved(True)
    assert paired.var(axis=0).sum() < 0.5 * apart.var(axis=0).sum()
    z = (apart.mean(0) - paired.mean(0)) / np.sqrt((apart.var(0, ddof=1) + paired.var(0, ddof=1)) / 200)
    assert np.abs(z).max() < 5


def test_common_noise_is_one_nets_own_noise_for_all(key, x, apart):
    """A net keeps its initial weights; nets that start alike end alike."""
    own = train(key, x, SETTINGS)
    np.testing.assert_array_equal(train(key, x, SETTINGS, noise_key=key).weights.encoder, own.weights.encoder)
    other = train(key, x, SETTINGS, noise_key=jax.random.key(1)).weights.encoder
    assert not np.array_equal(other, own.weights.encoder)
    together = _many(x, common=jax.random.key(4))
    z = (apart - together).mean(0) / np.hypot(apart.std(0, ddof=1) / 8, together.std(0, ddof=1))
    assert np.abs(z).max() < 5, z  # the mean of nets with common noise is no steadier than one net


@pytest.mark.parametrize("samples", [1, 3, 5])
def test_every_sample_weighs_the_same_in_a_batch_larger_than_the_data(key, samples):
    index, weight = batches.rows(key, 5, jnp.asarray(samples), 7, jnp.float64)
    total = np.bincount(np.asarray(index), np.asarray(weight), minlength=5)
    np.testing.assert_allclose(total, np.where(np.arange(5) < samples, 1 / samples, 0), rtol=1e-14)


def test_a_small_batch_picks_live_samples_uniformly():
    keys = jax.random.split(jax.random.key(1), 4000)
    index, weight = jax.vmap(lambda key: batches.rows(key, 20, jnp.asarray(10), 4, jnp.float64))(keys)
    np.testing.assert_allclose(weight, 0.25)
    counts = np.bincount(np.asarray(index).ravel(), minlength=20)
    assert not counts[10:].any()
    z = (counts[:10] - 1600) / np.sqrt(16000 * 0.1 * 0.9)
    assert np.abs(z).max() < 5, z


def test_history_is_written_at_the_chosen_steps_and_does_not_change_the_run(key, x):
    """Records may be observed; the weights at a checkpoint are those of a run that ends there, at the same rates."""
    plain = train(key, x, SETTINGS)
    chosen = training.log_spaced(SETTINGS.steps, 5)
    watched = train(
        key,
        x,
        SETTINGS.replace(record_at=chosen[:-1]),
        observe=lambda weights: {"all": weights, "norm": jnp.sum(weights.encoder**2)},
    )
    np.testing.assert_array_equal(watched.history.step, chosen)
    observed = watched.history.observed["all"]
    for leaf, recorded, ended in zip(*map(jax.tree.leaves, (watched.weights, observed, plain.weights)), strict=True):
        np.testing.assert_array_equal(leaf, ended)
        np.testing.assert_array_equal(recorded[-1], ended)
    squares = np.sum(np.square(observed.encoder), axis=(1, 2))
    np.testing.assert_allclose(watched.history.observed["norm"], squares, rtol=1e-6)
    rates = training.warmup_then_decay(SETTINGS.steps)
    short = train(key, x, SETTINGS.replace(steps=chosen[2], schedule=lambda _: rates))
    np.testing.assert_allclose(observed.encoder[2], short.weights.encoder, rtol=1e-5, atol=1e-7)
    mean = (watched.history.loss * np.diff([0, *chosen]).astype(np.float32)).sum() / SETTINGS.steps
    np.testing.assert_allclose(mean, plain.history.loss[0], rtol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 3, 50])
def test_the_default_rate_rises_to_one_and_falls_at_any_number_of_steps(steps):
    factors = np.asarray([training.warmup_then_decay(steps)(count) for count in range(steps)])
    assert np.all((factors >= 0) & (factors <= 1))
    assert factors.max() == 1
    assert np.all(np.diff(factors[np.argmax(factors) :]) < 0)


def test_settings_are_swept_by_vmap(key, x):
    decays = jnp.asarray([0.0, 0.1], jnp.float32)
    swept = jax.vmap(lambda decay: train(key, x, SETTINGS.replace(weight_decay=decay)).weights.encoder)(decays)
    for row, decay in zip(swept, decays, strict=True):
        alone = train(key, x, SETTINGS.replace(weight_decay=float(decay))).weights.encoder
        np.testing.assert_allclose(row, alone, rtol=1e-4, atol=1e-6)


def test_a_diverged_run_is_data(key, x):
    assert train(key, x, SETTINGS).finite
    assert not train(key, x, SETTINGS.replace(learning_rate=1e20)).finite


def test_refusals(key, x, refused):
    for name, value in (
        ("noise_std", -0.1),
        ("weight_decay", -1.0),
        ("learning_rate", 0.0),
        ("init_scale", 0.0),
        ("steps", 0),
        ("width", 0),
        ("batch_size", 0),
        ("record_at", (31,)),
    ):
        with refused(name):
            train(key, x, SETTINGS.replace(**{name: value}))
    with refused("x"):
        train(key, x.at[0, 0].set(jnp.nan), SETTINGS)
    with refused("x"):
        train(key, x[0], SETTINGS)
    with refused("samples"):
        train(key, x, SETTINGS, samples=6)
    with refused("neurons"):
        train(key, x, SETTINGS, neurons=0)
    with refused("key"):
        train(jax.random.split(key), x, SETTINGS)
    with refused("noise_key"):
        train(key, x, SETTINGS, noise_key=jax.random.split(jax.random.key(8)))
    for name, steps, count in (("steps", 0, 1), ("count", 3, 0), ("count", 3, 4)):
        with refused(name):
            training.log_spaced(steps, count)


@pytest.mark.parametrize(("steps", "count"), [(1, 1), (7, 7), (60, 20), (3000, 24), (100_000, 6)])
def test_log_spaced_steps_are_distinct_end_at_the_last_and_grow_by_one_factor(steps, count):
    chosen = training.log_spaced(steps, count)
    assert len(chosen) == count
    assert chosen[-1] == steps
    assert np.all(np.diff([0, *chosen]) > 0)
    if count > 1:
        # a step is the geometric one, or the next after one that already lies beyond it
        geometric = np.geomspace(1, steps, count)
        close = np.abs(np.asarray(chosen) - geometric) <= 0.5 + 1e-9
        assert close[0]
        assert np.all(close[1:] | ((np.diff(chosen) == 1) & (chosen[1:] > geometric[1:])))


def test_elapsed_time_is_the_sum_of_the_rates():
    rates = [training.warmup_then_decay(30)(count) for count in range(30)]
    time = training.elapsed(SETTINGS, jnp.asarray([0, 1, 12, 30]))
    np.testing.assert_allclose(time, [1e-2 * float(np.sum(rates[:k])) for k in (0, 1, 12, 30)], rtol=1e-6, atol=0)
    steady = training.elapsed(SETTINGS.replace(schedule=training.constant_rate), jnp.asarray([0, 7, 30]))
    np.testing.assert_allclose(steady, [0, 0.07, 0.3])
