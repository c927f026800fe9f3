"""Symmetries of the weights: what leaves the function alone must leave the comparison alone."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize

from dae_theory import model, symmetry

denoise = jax.jit(model.denoise)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def _arrays(decoder, encoder):
    return model.Weights(jnp.asarray(decoder), jnp.asarray(encoder))


def _weights(rng, p=4):
    return _arrays(*rng.standard_normal((2, 6, p)))


def _inside(decoder, encoder, width=8):
    """The same with zeros around, so that few shapes have to be compiled."""
    pad = [(0, 6 - decoder.shape[0]), (0, width - decoder.shape[1])]
    return _arrays(np.pad(decoder, pad), np.pad(encoder, pad))


def _map(change, weights):
    return _arrays(change(np.asarray(weights.decoder)), change(np.asarray(weights.encoder)))


def _pad(weights, width):
    return _map(lambda w: np.pad(w, ((0, 0), (0, width - w.shape[1]))), weights)


def _split(rng, weights, copies):
    """Every neuron as `copies` parallel ones of random shares and gains, shuffled, with dead columns at the end."""
    width = weights.width * copies
    shares = rng.dirichlet(np.ones(copies), weights.width).reshape(-1)
    gains = np.exp(rng.standard_normal(width))
    shuffle = rng.permutation(width)
    decoder = np.repeat(np.asarray(weights.decoder), copies, axis=1) * (shares / gains)
    encoder = np.repeat(np.asarray(weights.encoder), copies, axis=1) * gains
    return _pad(_arrays(decoder[:, shuffle], encoder[:, shuffle]), 8)


def test_balance_keeps_the_function_and_equalises_lengths(rng):
    weights = _pad(_weights(rng), 8)
    weights = _arrays(
        weights.decoder, np.asarray(weights.encoder) + np.array([0, 0, 0, 0, 1.0, 0, 0, 0])
    )  # dead: its decoder is zero
    balanced = symmetry.balance(weights)
    y = rng.standard_normal((50, 6))
    np.testing.assert_allclose(denoise(balanced, y), denoise(weights, y), rtol=1e-12, atol=1e-12)
    lengths = np.linalg.norm(balanced.encoder, axis=0)
    np.testing.assert_allclose(lengths, np.linalg.norm(balanced.decoder, axis=0), rtol=1e-13)
    np.testing.assert_array_equal(lengths[4:], 0)
    gradient = jax.grad(lambda w: jnp.sum(denoise(symmetry.balance(w), y) ** 2))(weights)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_merging_split_neurons_gives_back_the_originals(rng):
    original = _weights(rng, p=2)
    weights = _split(rng, original, copies=3)
    merged = symmetry.merge_parallel(weights, cosine=1.0)
    y = rng.standard_normal((50, 6))
    np.testing.assert_allclose(denoise(merged.weights, y), denoise(weights, y), rtol=1e-12, atol=1e-12)
    assert int(merged.live) == 2
    np.testing.assert_array_equal(merged.members, [3] * 2 + [0] * 6)
    assert np.all(np.diff(merged.sizes) <= 0)
    # Every given neuron points along the merged neuron of its group; the dead ones have none.
    group = np.asarray(merged.group)
    assert list(group[6:]) == [-1, -1]
    given, leader = weights.encoder[:, :6], merged.weights.encoder[:, group[:6]]
    cosine = np.sum(given * leader, axis=0) / np.linalg.norm(given, axis=0) / np.linalg.norm(leader, axis=0)
    np.testing.assert_allclose(cosine, 1, rtol=1e-12)
    assert float(symmetry.match(merged.weights, _pad(original, 4)).distance) < 1e-7  # a root of rounding


def test_parallel_columns_act_as_one_of_the_root_of_summed_squares():
    direction = np.array([0.6, 0.8])[:, None]
    tied = direction * np.array([3.0, 4.0, 0.0])[None, :]
    merged = symmetry.merge_parallel(_inside(tied, tied))
    expected = np.zeros((6, 8))
    expected[:2, 0] = [3.0, 4.0]  # length 5
    np.testing.assert_allclose(merged.weights.encoder, expected, rtol=1e-13)


@pytest.mark.parametrize("cosine", [0.9, 0.99, 0.9999])
def test_merging_errs_no_more_than_stated(rng, cosine):
    """2(1 − c)S‖y‖ where gates agree, 2√(2(1 − c))S‖y‖ everywhere; and merging does happen."""
    base = np.ones((6, 1)) / np.sqrt(6.0)
    angle = np.arccos(cosine)
    noise = rng.standard_normal((2, 6, 8))
    noise = noise - base[None] * np.sum(noise * base[None], axis=1, keepdims=True)
    noise = noise / np.linalg.norm(noise, axis=1, keepdims=True)
    tilted = np.cos(angle / 2) * base[None] + np.sin(angle / 2) * noise  # pairwise within the angle
    weights = _arrays(tilted[0], tilted[1])
    merged = symmetry.merge_parallel(weights, cosine=cosine)
    assert int(merged.live) == 1
    y = rng.standard_normal((4000, 6))
    error = np.linalg.norm(denoise(merged.weights, y) - denoise(weights, y), axis=1)
    size, length = 8.0, np.linalg.norm(y, axis=1)
    active = np.sum(np.asarray(y @ weights.encoder) > 0, axis=1)
    agree = ((active == 0) | (active == 8)) & (
        (np.asarray(y @ merged.weights.encoder[:, :1])[:, 0] > 0) == (active == 8)
    )
    assert agree.sum() > 100
    assert np.all(error <= 2 * np.sqrt(2 * (1 - cosine)) * size * length)
    assert np.all(error[agree] <= 2 * (1 - cosine) * size * length[agree] + 1e-12)


def test_neurons_are_merged_only_when_both_directions_agree():
    encoder = np.array([[1.0, 1.0], [0.0, 0.0]])
    decoder = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert int(symmetry.merge_parallel(_inside(decoder, encoder)).live) == 2
    assert int(symmetry.merge_parallel(_inside(encoder, decoder)).live) == 2
    assert int(symmetry.merge_parallel(_inside(encoder, encoder)).live) == 1


def test_negligible_neurons_are_kept_but_not_counted():
    columns = np.array([[1.0, 0.0], [0.0, 1e-3]])
    merged = symmetry.merge_parallel(_inside(columns, columns))
    assert int(merged.live) == 1
    np.testing.assert_allclose(merged.sizes[:2], [1.0, 1e-6], rtol=1e-12)
    assert int(symmetry.merge_parallel(_inside(columns, columns), negligible=0.0).live) == 2


def test_neurons_that_do_not_count_move_f_by_less_than_a_thousandth_of_the_largest(key):
    """Both columns decide, and so does the largest neuron: not the scale of the weights, nor how a neuron splits it."""
    lengths = np.array([3.0, 0.3, 0.11, 0.05, 0.0])  # sizes over the largest: 1, 1e-2, 1.3e-3, 2.8e-4, 0
    encoder, decoder = (np.asarray(jax.random.normal(one, (4, 5))) for one in jax.random.split(key))
    encoder, decoder = (lengths * columns / np.linalg.norm(columns, axis=0) for columns in (encoder, decoder))
    expected = [True, True, True, False, False]
    tilt = np.array([1.0, 10.0, 0.1, 100.0, 1.0])
    for scale in (1.0, 1e-5):
        weights = _inside(scale * decoder / tilt, encoder * tilt)
        np.testing.assert_array_equal(symmetry.alive(weights)[:5], expected)
        assert int(symmetry.merge_parallel(weights).live) == 3
    kept = _inside(*(np.where(expected, columns, 0) for columns in (decoder, encoder)))
    y = jax.random.normal(jax.random.key(1), (50, 6))
    moved = jnp.linalg.norm(denoise(_inside(decoder, encoder), y) - denoise(kept, y), axis=1)
    assert np.all(moved <= symmetry.NEGLIGIBLE * lengths[0] ** 2 * jnp.linalg.norm(y, axis=1))


def test_merging_and_matching_under_vmap_in_float32_is_that_of_each_member(rng):
    learned, reference = _arrays(*rng.standard_normal((2, 3, 6, 8))), _arrays(*rng.standard_normal((2, 3, 6, 4)))
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (learned, reference))
    together = jax.vmap(lambda a, b: symmetry.match(symmetry.merge_parallel(a).weights, b))(*single)
    assert together.relative_error.dtype == jnp.float32
    for index in range(3):
        a, b = (_map(lambda leaf, index=index: leaf[index], weights) for weights in (learned, reference))
        alone = symmetry.match(symmetry.merge_parallel(a).weights, b)
        for left, right in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(left[index], right, rtol=1e-4, atol=1e-5)


def test_match_undoes_permutation_scaling_and_surplus_width(rng):
    reference = _weights(rng)
    order = np.array([2, 0, 3, 1])
    scale = np.exp(rng.standard_normal((4,)))[None, :]
    learned = _pad(_arrays((reference.decoder / scale)[:, order], (reference.encoder * scale)[:, order]), 8)
    result = symmetry.match(learned, reference)
    np.testing.assert_array_equal(np.asarray(result.assignment), np.argsort(order))
    np.testing.assert_allclose(result.cosine, 1, rtol=1e-13)
    np.testing.assert_allclose(result.norm_ratio, 1, rtol=1e-13)
    np.testing.assert_allclose(result.relative_error, 0, atol=1e-13)
    assert bool(np.all(result.matched))
    assert float(result.surplus) == 0


def test_match_is_the_best_pairing(rng):
    """Against all partial pairings of 3 reference with 4 learned neurons, and the law of cosines for each pair."""
    learned, reference = _pad(_weights(rng), 8), _pad(_weights(rng, p=3), 4)
    result = symmetry.match(learned, reference)
    pairs = [symmetry.balance(weights) for weights in (learned, reference)]
    a, b = (np.concatenate([pair.decoder, pair.encoder])[:, :p] for pair, p in zip(pairs, (4, 3), strict=True))
    distances = []
    for choice in itertools.product(range(-1, 4), repeat=3):
        used = [index for index in choice if index >= 0]
        if len(set(used)) == len(used):
            found = np.stack([a[:, index] if index >= 0 else np.zeros(12) for index in choice], axis=1)
            rest = np.delete(a, used, axis=1)
            distances.append(np.sqrt(np.sum((found - b) ** 2) + np.sum(rest**2)) / np.linalg.norm(b))
    np.testing.assert_allclose(result.distance, min(distances), rtol=1e-12)
    ratio, cosine = result.norm_ratio[:3], result.cosine[:3]
    np.testing.assert_allclose(result.relative_error[:3] ** 2, 1 + ratio**2 - 2 * ratio * cosine, rtol=1e-12)
    rows, columns = scipy.optimize.linear_sum_assignment(-np.maximum(b.T @ a, 0))
    expected = np.where((b.T @ a)[rows, columns] > 0, columns, -1)
    np.testing.assert_array_equal(result.assignment[:3], expected)


def test_match_flags_what_has_no_partner():
    two = np.eye(2)
    reference = _inside(two, two, width=4)  # two neurons and two zero columns
    result = symmetry.match(_inside(2 * two[:, :1], 2 * two[:, :1]), reference)
    np.testing.assert_array_equal(result.assignment, [0, -1, -1, -1])
    np.testing.assert_array_equal(result.matched, [True, False, False, False])
    np.testing.assert_allclose(result.cosine, [1, 0, np.nan, np.nan], rtol=1e-14)
    np.testing.assert_allclose(result.relative_error, [1, 1, np.nan, np.nan], rtol=1e-14)
    np.testing.assert_allclose(result.norm_ratio, [2, 0, np.nan, np.nan], rtol=1e-14)
    opposite = symmetry.match(_inside(-two, -two), reference)
    assert not np.any(opposite.matched)
    assert float(opposite.surplus) == 1


def test_match_of_a_narrower_network(rng):
    reference = _weights(rng)
    result = symmetry.match(_map(lambda w: w[:, 1:3], reference), reference)
    np.testing.assert_array_equal(result.assignment, [-1, 0, 1, -1])
    np.testing.assert_allclose(result.relative_error, [1, 0, 0, 1], atol=1e-13)


def _blocks(rng):
    """Two blocks of two neurons on orthogonal planes, open on their clusters, silent on the other."""
    x = np.abs(rng.standard_normal((20, 2))) + 1.0
    zero = np.zeros_like(x)
    x = np.concatenate([np.concatenate([x, zero], axis=1), np.concatenate([zero, x], axis=1)])
    labels = np.repeat(np.arange(2), 20)
    columns = np.diag(np.array([1.0, 2.0, 3.0, 4.0]))
    return _arrays(columns, columns), x, labels


def test_block_error_ignores_rotation_splitting_and_order(rng):
    reference, x, labels = _blocks(rng)
    turn = np.array([[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]])
    rotation = scipy.linalg.block_diag(turn, turn.T)
    rotated = _map(lambda w: w @ rotation, reference)
    learned = _pad(_split(rng, rotated, copies=2), 9)
    result = symmetry.block_error(learned, reference, x, labels, blocks=2)
    np.testing.assert_allclose(result.error, 0, atol=1e-12)
    np.testing.assert_array_equal(result.neurons, [4, 4])
    assert int(result.block_of_neuron[-1]) == -1
    np.testing.assert_allclose(result.leakage, 0, atol=1e-12)


def test_block_error_is_the_relative_error_of_the_block(rng, refused):
    reference, x, labels = _blocks(rng)
    learned = _map(lambda w: w * np.array([1.0, 1.0, 1.1, 1.1])[None, :], reference)
    result = symmetry.block_error(learned, reference, x, labels, blocks=3)
    np.testing.assert_allclose(result.error, [0, 0.21, np.nan], rtol=1e-12, atol=1e-12)
    half = np.where(labels == 0, -1, labels)  # samples of the first cluster left out
    np.testing.assert_array_equal(
        symmetry.block_error(learned, reference, x, half, blocks=2).block_of_neuron, [-1, -1, 1, 1]
    )
    with refused("labels"):
        symmetry.block_error(learned, reference, x, labels[1:], blocks=2)
    with refused("blocks"):
        symmetry.block_error(learned, reference, x, labels, blocks=0)


def test_procrustes_finds_the_rotation(rng):
    reference = _weights(rng)
    rotation = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    learned = _map(lambda w: w @ rotation.T, reference)
    result = symmetry.procrustes(learned, reference)
    np.testing.assert_allclose(result.rotation, rotation, atol=1e-12)
    assert float(result.relative_error) < 1e-13
    wider = symmetry.procrustes(learned, _pad(reference, 6))
    np.testing.assert_allclose(wider.rotation @ wider.rotation.T, np.eye(6), atol=1e-12)
    assert float(wider.relative_error) < 1e-13


def test_asymmetry_of_tied_orthogonal_and_opposite_weights():
    first, second = np.eye(4)[:, :2], np.eye(4)[:, 2:]
    assert float(symmetry.asymmetry(_arrays(3 * first, first))) < 1e-15
    np.testing.assert_allclose(symmetry.asymmetry(_arrays(first, second)), np.sqrt(2), rtol=1e-14)
    np.testing.assert_allclose(symmetry.asymmetry(_arrays(-first, 2 * first)), 2, rtol=1e-14)


def test_refusals(rng, refused):
    weights = _weights(rng)
    for cosine in (0.0, 1.1, float("nan")):
        with refused("cosine"):
            symmetry.merge_parallel(weights, cosine=cosine)
    with refused("negligible"):
        symmetry.merge_parallel(weights, negligible=1.0)
    other = _arrays(np.ones((3, 2)), np.ones((3, 2)))
    with refused("reference"):
        symmetry.match(weights, other)
    with refused("reference"):
        symmetry.procrustes(weights, other)
