"""Keys by identity, and the hashed generator tested as one: moments, Kolmogorov-Smirnov, correlations, avalanche."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from dae_theory import noise, randomness
from dae_theory.randomness import HASHED, derive, hashed


def _draws(seed: int, count: int) -> np.ndarray:
    """float32 normals under one key, as float64."""
    with jax.numpy_dtype_promotion("strict"):
        z = noise.standard_normal(jax.random.key(seed, impl=HASHED), (count,), jnp.float32)
    return np.asarray(z, np.float64)


def test_keys_separate_purposes_and_indices(key):
    drawn = {
        int(jax.random.bits(derive(key, purpose, *indices)))
        for purpose in ("noise", "init")
        for indices in ((), (0,), (1,), (0, 1), (1, 0))
    }
    assert len(drawn) == 10


def test_hashed_keys_derive_as_threefry_keys_do(key):
    for made, plain in (
        (jax.random.key(5, impl=HASHED), jax.random.key(5)),
        (jax.random.fold_in(hashed(key), 3), jax.random.fold_in(key, 3)),
        (derive(hashed(key), "noise", 2, 3), derive(key, "noise", 2, 3)),
        (jax.random.split(jax.random.key(6, impl=HASHED), 4), jax.random.split(jax.random.key(6), 4)),
    ):
        np.testing.assert_array_equal(jax.random.key_data(made), jax.random.key_data(plain))
    assert randomness.is_hashed(hashed(key))
    assert not randomness.is_hashed(key)
    assert pickle.loads(pickle.dumps(HASHED)) == HASHED


def test_the_hash_is_its_equation(key):
    key = hashed(key)
    k0, k1 = (int(k) for k in jax.random.key_data(key))
    for i, word in enumerate(np.asarray(jax.random.bits(key, (7,), jnp.uint32))):
        a = (i * 0x9E3779B9 + k0) % 2**32
        b = ((a ^ a >> 16) * 0x21F0AAAD + k1) % 2**32
        c = ((b ^ b >> 15) * 0x735A2D97) % 2**32
        d = ((c ^ c >> 16) * 0x846CA68B) % 2**32
        assert word == d ^ d >> 15


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.uint16, jnp.uint32, jnp.uint64])
def test_rows_do_not_depend_on_their_number_and_every_width_is_uniform(dtype):
    def bits(rows):
        return np.asarray(jax.random.bits(jax.random.key(1, impl=HASHED), (rows, 8), dtype))

    few, many = bits(4), bits(4096)
    np.testing.assert_array_equal(few, many[:4])
    width = 8 * many.itemsize
    ones = np.asarray([np.mean((many >> many.dtype.type(bit)) & many.dtype.type(1)) for bit in range(width)])
    assert np.abs(ones - 0.5).max() < 5 * 0.5 / np.sqrt(many.size)


def test_vmap_and_jit_change_no_bit(key):
    def draw(step):
        return noise.standard_normal(hashed(derive(key, "noise", step)), (3, 5), jnp.float32)

    steps = jnp.arange(4)
    together = jax.jit(jax.vmap(draw))(steps)
    np.testing.assert_allclose(together, [draw(step) for step in steps], rtol=1e-5)


def test_the_transform_is_the_inverse_distribution_function():
    bits = np.concatenate([np.arange(4096), np.arange(2**32 - 4096, 2**32), np.arange(0, 2**32, 99_991)])
    z = np.asarray(noise.normal_from_bits(jnp.asarray(bits, jnp.uint32)), np.float64)
    tail = ((bits >> 1) + 0.5) / 2**31
    exact = np.where(bits & 1, 1, -1) * special.ndtri(tail / 2)
    # 1.5e-5 of the fit, and what rounding 1 − v to 24 bits leaves of small numbers
    np.testing.assert_allclose(z, exact, rtol=1.7e-5, atol=1e-7)
    assert np.abs(z).max() == pytest.approx(-special.ndtri(2.0**-33), rel=2e-5)


def test_variance_of_the_transform():
    """(the mean over all words on a fine grid of tails is the integral)"""
    tail = 2 * (np.arange(2**20) + 0.5) / 2**21
    z = noise.normal_from_bits(jnp.asarray(tail * 2**31, jnp.uint32) << 1)
    ratio = np.sum(np.asarray(z, np.float64) ** 2) / np.sum(special.ndtri(tail / 2) ** 2)
    assert abs(ratio - 1) < 1e-6


def _moments_and_distribution(seed: int, count: int) -> None:
    z = _draws(seed, count)
    for order in range(1, 9):
        mean = special.factorial2(order - 1) if order % 2 == 0 else 0.0
        spread = np.sqrt(special.factorial2(2 * order - 1) - mean**2)
        assert abs(np.mean(z**order) - mean) < 5 * spread / np.sqrt(count), order
    assert stats.kstest(z, "norm").pvalue > 1e-4
    # the tails alone: how many beyond 4, which probability e^(-8) … is too rare for Kolmogorov and Smirnov
    expected = count * 2 * stats.norm.sf(4.0)
    assert abs(np.sum(np.abs(z) > 4) - expected) < 5 * np.sqrt(expected)


def test_a_million_draws_have_the_moments_and_the_distribution():
    _moments_and_distribution(11, 10**6)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_ten_million_draws_have_the_moments_and_the_distribution(seed):
    _moments_and_distribution(seed, 10**7)


def test_members_steps_coordinates_and_shifted_counters_are_uncorrelated(key):
    """Every pair of rows of draws, and every lag, within 5 standard errors of 0 after Bonferroni."""

    def draw(member, step):
        return noise.standard_normal(hashed(derive(key, "run", member, step)), (64, 16), jnp.float32)

    z = np.asarray(
        jax.vmap(lambda m: jax.vmap(lambda s: draw(m, s))(jnp.arange(32)))(jnp.arange(32)), np.float64
    )  # (member, step, row, coordinate)
    for axis in range(4):
        rows = np.moveaxis(z, axis, 0).reshape(z.shape[axis], -1)
        gram = rows @ rows.T / np.sqrt(rows.shape[1])
        off = gram[np.triu_indices(len(gram), 1)]
        assert np.abs(off).max() < 5 + np.log(len(off)) / 10
        assert stats.kstest(off, "norm").pvalue > 1e-4
        squares = (rows**2 - 1) / np.sqrt(2)
        off = (squares @ squares.T / np.sqrt(rows.shape[1]))[np.triu_indices(len(gram), 1)]
        assert np.abs(off).max() < 6
    stream = _draws(5, 2**18)
    lags = np.fft.irfft(np.abs(np.fft.rfft(stream, 2**19)) ** 2)[1:4097] / np.sqrt(2**18)
    assert stats.kstest(lags, "norm").pvalue > 1e-4
    assert np.abs(lags).max() < 5.5


def test_neighbouring_keys_share_no_draws():
    """Keys whose data differ by one bit, or by a step of the counter, in either half."""
    base = np.asarray([123456789, 987654321], np.uint32)
    counts = (4096,)
    plain = noise.standard_normal(jax.random.wrap_key_data(jnp.asarray(base), impl=HASHED), counts, jnp.float32)
    correlations = []
    for half in (0, 1):
        for bit in range(32):
            other = base.copy()
            other[half] ^= np.uint32(1 << bit)
            z = noise.standard_normal(jax.random.wrap_key_data(jnp.asarray(other), impl=HASHED), counts, jnp.float32)
            correlations.append(float(np.asarray(plain, float) @ np.asarray(z, float)) / np.sqrt(4096))
    assert np.abs(correlations).max() < 5
    assert stats.kstest(correlations, "norm").pvalue > 1e-4


def test_one_bit_of_the_counter_flips_half_of_the_word():
    """Avalanche: P(output bit j flips | counter bit i flips) = ½ for all (i, j) but a share of ±0.03."""
    generator = np.random.default_rng(3)
    key = jnp.asarray(generator.integers(0, 2**32, 2, dtype=np.uint32))
    counter = generator.integers(0, 2**32, 2**14, dtype=np.uint32)
    word = np.asarray(randomness._words(key, jnp.asarray(counter)))
    flips = np.empty((32, 32))
    for i in range(32):
        flipped = word ^ np.asarray(randomness._words(key, jnp.asarray(counter ^ np.uint32(1 << i))))
        flips[i] = [np.mean((flipped >> np.uint32(j)) & 1) for j in range(32)]
    assert np.abs(flips - 0.5).max() < 0.03


def test_refusals(refused):
    with refused("key"):
        hashed(jnp.zeros(2, jnp.uint32))
    with refused("root"):
        derive(jnp.zeros(2, jnp.uint32), "noise")
    with refused("shape"):
        jax.eval_shape(lambda key: randomness._bits(key, 32, (2**20, 2**13)), jnp.zeros(2, jnp.uint32))
