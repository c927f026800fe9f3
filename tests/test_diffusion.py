"""Noise-conditional networks: what they compute, what they start from, and training that resumes bit by bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import diffusion, model, noise
from dae_theory.randomness import derive

SHAPE = (8, 8)


@pytest.fixture
def y(key):
    return jax.random.normal(derive(key, "inputs"), (5, 64), jnp.float32)


def _deep(key, **settings):
    return diffusion.deep_network(key, SHAPE, **({"patch": 4, "width": 16, "depth": 1, "heads": 2} | settings))


def _perturbed(key, network):
    """The same network with every parameter moved, so that nothing is zero any more."""
    leaves, structure = jax.tree.flatten(network.parameters)
    moved = [
        leaf + jnp.float32(0.1) * jax.random.normal(derive(key, "moved", i), leaf.shape, leaf.dtype)
        for i, leaf in enumerate(leaves)
    ]
    return network.replace(parameters=jax.tree.unflatten(structure, moved))


def test_the_relu_network_starts_as_the_tied_autoencoder_at_every_noise_level(key, y):
    network = diffusion.relu_network(key, 64, width=12)
    weights = network.parameters["weights"][...]
    tied = model.denoise(model.Weights(weights, weights), y)
    for noise_std in (0.02, 2.0):
        np.testing.assert_allclose(network.denoise(y, noise_std), tied, rtol=1e-5, atol=1e-6)


def test_the_relu_network_is_the_published_formula(key, y):
    network = _perturbed(key, diffusion.relu_network(key, 64, width=12))
    at = {name: np.asarray(leaf, float) for name, leaf in _flat(network)}
    noise_std = 0.3
    first = np.log(noise_std) * at["first.kernel"][0] + at["first.bias"]
    gains = np.exp((first / (1 + np.exp(-first))) @ at["last.kernel"] + at["last.bias"])
    hidden = np.maximum(np.asarray(y, float) @ at["weights"], 0)
    expected = (hidden * gains) @ at["weights"].T + at["skip"] * np.asarray(y, float)
    np.testing.assert_allclose(network.denoise(y, noise_std), expected, rtol=1e-4, atol=1e-5)
    activations = network.activations(y, noise_std)
    np.testing.assert_allclose(activations["hidden"], hidden, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(activations["gated"], hidden * gains, rtol=1e-4, atol=1e-5)


def _flat(network):
    paths = jax.tree_util.tree_flatten_with_path(network.parameters)[0]
    for path, leaf in paths:
        yield ".".join(str(part.key) for part in path if hasattr(part, "key")), leaf


def test_the_published_size():
    assert diffusion.relu_network(jax.random.key(0), 1024).size == 1024 * 256 + (2 * 256) + (256 * 256 + 256) + 1


def test_the_deep_network_starts_as_the_best_denoiser_of_white_gaussian_data(key, y):
    network = _deep(key, data_scale=0.5)
    for noise_std in (0.1, 3.0):
        shrunk = 0.25 / (0.25 + noise_std**2) * y
        np.testing.assert_allclose(network.denoise(y, noise_std), shrunk, rtol=1e-5, atol=1e-7)


def test_the_deep_network_is_small_and_names_its_activations(key):
    network = diffusion.deep_network(key, (16, 16))
    assert network.size <= 1_000_000
    activations = network.activations(jnp.ones((3, 256), jnp.float32), 0.2)
    names = {f"block{i}.{part}" for i in range(4) for part in ("attention", "hidden", "stream")}
    assert set(activations) == {"embedding", *names}
    assert {value.shape[:2] for value in activations.values()} == {(3, 16)}
    assert activations["block2.hidden"].shape[2] == 4 * activations["block2.stream"].shape[2]
    assert float(activations["block0.hidden"].min()) == 0


@pytest.mark.parametrize("kind", ["relu", "deep"])
def test_rows_are_independent_and_each_has_its_own_noise_level(key, y, kind):
    network = _perturbed(key, diffusion.relu_network(key, 64, width=12) if kind == "relu" else _deep(key))
    levels = jnp.geomspace(0.05, 2, len(y), dtype=jnp.float32)
    together = network.denoise(y, levels)
    for row in range(len(y)):
        alone = network.denoise(y[row : row + 1], levels[row])
        np.testing.assert_allclose(together[row : row + 1], alone, rtol=2e-5, atol=1e-6)
    pictures = network.denoise(y.reshape(-1, *SHAPE), levels)
    np.testing.assert_array_equal(pictures.reshape(y.shape), together)


def test_patches_are_squares_of_the_picture(key):
    """At a weight that copies one pixel of each patch, the embedding is that pixel of each square, in reading order."""
    network = _deep(key)
    picture = jnp.arange(64, dtype=jnp.float32).reshape(1, *SHAPE)
    parameters = jax.tree.map(jnp.zeros_like, network.parameters)
    kernel = parameters["embed"]["kernel"]
    parameters["embed"]["kernel"] = kernel.replace(kernel[...].at[5, 0].set(1))  # second row, second column of a patch
    embedding = network.replace(parameters=parameters).activations(picture, 1e-3)["embedding"][0, :, 0]
    expected = np.asarray(picture)[0, 1::4, 1::4].reshape(-1) / np.sqrt(1 + 1e-6)
    np.testing.assert_allclose(embedding, expected, rtol=1e-5)


def _settings(**changes):
    return diffusion.Settings(**({"steps": 24, "batch_size": 16, "chunk": 8, "learning_rate": 1e-3} | changes))


@pytest.mark.slow
def test_the_loss_of_white_gaussian_data_is_one_at_the_start(key):
    """w(σ) E‖x̂₀ − x‖²/d = (σ² + s²)/(σs)² · σ²s²/(σ² + s²) = 1 at the start, whatever σ is."""
    x = 0.5 * jax.random.normal(derive(key, "data"), (20_000, 64), jnp.float32)
    settings = _settings(steps=200, chunk=200, learning_rate=1e-12, data_scale=0.5, highest=4.0)
    losses = np.asarray(diffusion.train(key, _deep(key, data_scale=0.5), x, settings).losses, float)
    assert abs(losses.mean() - 1) / (losses.std(ddof=1) / len(losses) ** 0.5) < 5


def test_a_relu_network_learns_one_sample(key):
    """The skip alone, at its best, leaves E[σ²R²/(dσ² + R²)]; one neuron leaves E[σ²R²/(σ² + R²)]/d, d times less."""
    x = jnp.ones((1, 64), jnp.float32)
    settings = _settings(steps=600, chunk=600, batch_size=64, learning_rate=1e-2, lowest=0.5, average=0.9)
    losses = np.asarray(diffusion.train(key, diffusion.relu_network(key, 64, width=16), x, settings).losses, float)
    level = np.geomspace(0.5, 2, 1001)
    skip = np.mean(level**2 / (level**2 + 1))
    tail = losses[-100:]
    assert tail.mean() + 5 * tail.std(ddof=1) / 10 < skip / 8


class _Interrupted(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["relu", "deep"])
def test_a_run_cut_and_resumed_ends_with_the_same_bits(key, kind, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    x = jax.random.normal(derive(key, "data"), (30, 64), jnp.float32)
    network = diffusion.relu_network(key, 64, width=8) if kind == "relu" else _deep(key, width=8)
    whole = diffusion.train(key, network, x, _settings())

    def stop(count):
        raise _Interrupted

    store = diffusion.Checkpoints(tmp_path)
    with pytest.raises(_Interrupted):
        diffusion.train(key, network, x, _settings(), store=store, progress=stop)
    store.close()
    store, done = diffusion.Checkpoints(tmp_path), []
    resumed = diffusion.train(key, network, x, _settings(), store=store, progress=done.append)
    assert done == [8, 8, 8]  # the first eight steps were found
    for one, other in zip(jax.tree.leaves(resumed), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.isfinite(np.asarray(resumed.losses)).all()
    assert bool(resumed.finite)

    found = diffusion.train(key, network, x, _settings(), store=store)  # all steps are there
    np.testing.assert_array_equal(found.losses, whole.losses)
    with pytest.raises(ValueError, match="like must have the shapes"):
        diffusion.train(key, network, x, _settings(steps=32), store=store)
    store.close()


def test_the_average_follows_the_parameters(key):
    """With decay 0 the average is the last parameters; the averaged network is a slower one."""
    x = jax.random.normal(derive(key, "data"), (30, 64), jnp.float32)
    start = diffusion.relu_network(key, 64, width=8)
    ends = {
        average: diffusion.train(key, start, x, _settings(average=average)).network.parameters for average in (0.0, 0.9)
    }

    def moved(parameters):
        gaps = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), parameters, start.parameters)
        return float(jnp.sum(jnp.stack(jax.tree.leaves(gaps))))

    assert 0 < moved(ends[0.9]) < moved(ends[0.0])


def test_a_network_is_a_denoiser_for_samplers(key, y):
    """Under jit, σ traced, in a scan over levels: as a sampler calls it."""
    network = _perturbed(key, _deep(key))
    levels = noise.geometric_levels(2.0, 0.02, 4).astype(jnp.float32)
    _, outputs = jax.lax.scan(
        lambda carry, level: (network.denoise(carry, level), network.denoise(y, level)), y, levels
    )
    expected = jnp.stack([network.denoise(y, level) for level in levels])
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("noise_std", lambda key: _deep(key).denoise(jnp.ones((2, 64), jnp.float32), 0.0)),
        ("y", lambda key: _deep(key).denoise(jnp.ones(64, jnp.float32), 1.0)),
        ("shape", lambda key: diffusion.deep_network(key, (9, 8))),
        ("width", lambda key: diffusion.deep_network(key, (8, 8), width=10)),
        ("depth", lambda key: diffusion.deep_network(key, (8, 8), depth=0)),
        ("data_scale", lambda key: diffusion.deep_network(key, (8, 8), data_scale=0.0)),
        ("dimension", lambda key: diffusion.relu_network(key, 0)),
        ("key", lambda key: diffusion.relu_network(0, 4)),
        ("x", lambda key: diffusion.train(key, _deep(key), jnp.full((3, 64), jnp.nan), _settings())),
        ("x", lambda key: diffusion.train(key, _deep(key), jnp.ones((3, 63)), _settings())),
        ("highest", lambda key: diffusion.train(key, _deep(key), jnp.ones((3, 64)), _settings(highest=0.01))),
        ("steps", lambda key: diffusion.train(key, _deep(key), jnp.ones((3, 64)), _settings(steps=0))),
        ("average", lambda key: diffusion.train(key, _deep(key), jnp.ones((3, 64)), _settings(average=1.0))),
    ],
)
def test_bad_arguments_are_refused(key, refused, argument, call):
    with refused(argument):
        call(key)


def test_hidden_activations_are_edited_as_asked(key, y, refused):
    """A silenced neuron is one whose column is 0; a shift adds its decoded direction; rows have edits of their own."""
    network = _perturbed(key, diffusion.relu_network(key, 64, width=12))
    one, none = jnp.ones((5, 12), jnp.float32), jnp.zeros((5, 12), jnp.float32)
    without = jax.tree.map(lambda leaf: leaf.at[:, 2].set(0) if leaf.shape == (64, 12) else leaf, network.parameters)
    expected = network.replace(parameters=without).denoise(y, 0.3)
    silent = diffusion.Edit(one.at[:, 2].set(0), none)
    np.testing.assert_allclose(network.denoise(y, 0.3, {"hidden": silent}), expected, rtol=1e-5, atol=1e-5)
    at = network.activations(y, 0.3)
    j = int(jnp.argmax(at["hidden"][1]))
    gain = at["gated"][1, j] / at["hidden"][1, j]
    shifted = network.denoise(y, 0.3, {"hidden": diffusion.Edit(one, none.at[1, j].set(0.5))})
    moved = shifted - network.denoise(y, 0.3)
    weights = network.parameters["weights"][...]
    np.testing.assert_allclose(moved[1], 0.5 * gain * weights[:, j], rtol=1e-2, atol=1e-4)
    np.testing.assert_allclose(moved[jnp.array([0, 2, 3, 4])], 0, atol=1e-6)
    with refused("edits"):
        network.denoise(y, 0.3, {"gated": silent})


@pytest.mark.slow
def test_a_row_of_the_deep_network_is_edited_alone(key, y):
    deep = _perturbed(key, _deep(key, depth=2))
    factors = jnp.ones((5, 64), jnp.float32).at[1].set(0)
    edit = {"block1.hidden": diffusion.Edit(factors, jnp.zeros_like(factors))}
    moved = jnp.max(jnp.abs(deep.denoise(y, 0.3, edit) - deep.denoise(y, 0.3)), axis=1)
    assert float(moved[1]) > 1e-3
    np.testing.assert_allclose(moved[jnp.array([0, 2, 3, 4])], 0, atol=1e-5)
