"""Nets of any depth: the shallowest is (5), merging a layer leaves f, silencing agrees with the exact effects."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dae_theory import knock_out, layered, model, silencing, symmetry

STD = 1.5  # so large that every neuron fires in some draw


@pytest.fixture
def rng():
    return np.random.default_rng(37)


def _weights(rng, dimension=4, width=7):
    return model.Weights(*(jnp.asarray(matrix) for matrix in rng.standard_normal((2, dimension, width))))


def _answer(net, layer=0):
    def answer(y, factors):
        f, hidden = layered.forward(net, y, {layer: factors})
        return f, hidden[layer]

    return answer


def _deep(rng):
    net = layered.start(jax.random.key(0), 3, width=5, depth=2, skip=1.0)
    net = jax.tree.map(lambda leaf: leaf.astype(float), net)
    return net.replace(biases=tuple(jnp.asarray(rng.standard_normal(5)) for _ in range(2)))


def test_a_layered_net_is_its_formula(rng):
    weights, y = _weights(rng), jnp.asarray(rng.standard_normal((3, 4)))
    f, hidden = layered.forward(layered.of_weights(weights), y)
    np.testing.assert_allclose(f, model.denoise(weights, y), rtol=1e-12)
    np.testing.assert_allclose(hidden[0], model.represent(weights, y), rtol=1e-12)
    net, x, factors = _deep(rng), rng.standard_normal((2, 3)), rng.random((2, 5))
    first = np.maximum(x @ net.matrices[0] + net.biases[0][None], 0)
    second = np.maximum((first * factors) @ np.asarray(net.matrices[1]) + net.biases[1][None], 0)
    f, hidden = layered.forward(net, jnp.asarray(x), {0: jnp.asarray(factors)})
    np.testing.assert_allclose(hidden[1], second, rtol=1e-12)
    np.testing.assert_allclose(f, x + second @ np.asarray(net.matrices[2]), rtol=1e-12)
    biasfree = net.replace(biases=(jnp.zeros(5),) * 2)
    once, scaled = (layered.forward(biasfree, jnp.asarray(c * x))[0] for c in (1, 3))
    np.testing.assert_allclose(scaled, 3 * once, rtol=1e-12)  # positively homogeneous without biases


@pytest.mark.parametrize("layer", [0, 1])
def test_copies_of_a_neuron_in_any_layer_are_merged_and_change_nothing(rng, layer):
    """Split a neuron, with its bias, in two: the net is the same, and merging finds as many neurons as before."""
    net, y = _deep(rng), jnp.asarray(rng.standard_normal((6, 3)))
    matrices, biases = list(net.matrices), list(net.biases)
    matrices[layer] = jnp.concatenate([matrices[layer], 2 * matrices[layer][:, :1]], axis=1)
    biases[layer] = jnp.append(biases[layer], 2 * biases[layer][0])
    onwards = matrices[layer + 1]
    matrices[layer + 1] = jnp.concatenate([0.4 * onwards[:1], onwards[1:], 0.3 * onwards[:1]])
    split = layered.Layered(tuple(matrices), tuple(biases), net.skip)
    expected, _ = layered.forward(net, y)
    np.testing.assert_allclose(layered.forward(split, y)[0], expected, rtol=1e-12)
    merged = symmetry.merge_parallel(layered.around(split, layer), cosine=1.0)
    assert int(merged.live) == 5
    np.testing.assert_allclose(
        layered.forward(layered.replaced(split, layer, merged.weights), y)[0], expected, rtol=1e-9
    )


def test_silencing_is_the_exact_effect_within_its_error(rng):
    """Noise by noise of the same draws, so that each sample's error is known; S is ‖x‖² − L in a net (5)."""
    weights, x, key, draws = _weights(rng), jnp.asarray(rng.standard_normal((3, 4))), jax.random.key(1), 4000
    exact = knock_out.knock_out(weights, x, noise_std=STD)
    answer = _answer(layered.of_weights(weights))
    common = {"noise_std": STD, "draws": draws}
    found = silencing.silence(key, answer, x, 7, **common, counts=(1, 7))
    np.testing.assert_array_equal(found.order[:, 0], exact.neuron)
    np.testing.assert_allclose(found.empty, jnp.sum(x**2, axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.own[:, 1], found.empty - found.loss, rtol=1e-9)
    assert np.isnan(found.carried).all()  # random weights do harm, so that S < 0 and nothing is held
    mirrored = found.replace(own=-found.own, empty=2 * found.loss - found.empty)
    assert float(mirrored.carried[1]) == pytest.approx(1)
    matrix = silencing.noticed(key, answer, x, found.order[:, 0], 7, **common)
    np.testing.assert_allclose(jnp.diag(matrix), found.own[:, 0], rtol=1e-9)
    _, effects, _ = knock_out.knock_out_effects(weights, x, noise_std=STD)
    fewer = {"noise_std": STD, "draws": 200}
    several = jax.jit(jax.vmap(lambda key: silencing.noticed(key, answer, x, exact.neuron, 7, **fewer)))(
        jax.random.split(jax.random.key(2), 20)
    )
    gap = np.abs(np.mean(several, axis=0) - effects[:, exact.neuron].T)
    assert (gap <= 5 * scipy.stats.sem(several, axis=0)).all()


def test_neurons_kept_at_random_cost_what_the_closed_form_says(rng):
    weights, x = _weights(rng), jnp.asarray(rng.standard_normal((1, 4)))
    exact, answer = knock_out.kept_share_loss(weights, x, 0.3, noise_std=STD), _answer(layered.of_weights(weights))
    common = {"noise_std": STD, "draws": 1000}
    found = jax.jit(jax.vmap(lambda key: silencing.kept_at_random(key, answer, x, 7, 0.3, **common)[0]))(
        jax.random.split(jax.random.key(3), 20)
    )
    assert abs(np.mean(found) - float(exact[0])) <= 5 * scipy.stats.sem(found)


def test_refusals(rng, refused):
    net, x, key = layered.of_weights(_weights(rng)), jnp.ones((2, 4)), jax.random.key(0)
    for name, arguments in (("dimension", (0, 2, 1)), ("width", (3, 0, 1)), ("depth", (3, 2, 0))):
        with refused(name):
            layered.start(key, arguments[0], width=arguments[1], depth=arguments[2])
    with refused("gain"):
        layered.start(key, 3, width=2, depth=1, gain=0.0)
    with refused("factors"):
        layered.forward(net, x, {1: jnp.ones((2, 7))})
    with refused("layer"):
        layered.around(net, 1)
    with refused("counts"):
        silencing.silence(key, _answer(net), x, 7, noise_std=STD, draws=1, counts=(8,))
    with refused("draws"):
        silencing.silence(key, _answer(net), x, 7, noise_std=STD, draws=0, counts=(1,))
    with refused("noise_std"):
        silencing.silence(key, _answer(net), x, 7, noise_std=-1.0, draws=1, counts=(1,))
    with refused("units"):
        silencing.noticed(key, _answer(net), x, jnp.zeros(3, int), 7, noise_std=STD, draws=1)
    for share in (0.0, 1.1):
        with refused("share"):
            silencing.kept_at_random(key, _answer(net), x, 7, share, noise_std=STD, draws=1)
