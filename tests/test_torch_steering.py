"""Steering of torch modules: directions are means, the response is that of the written-out net, the module stays."""

import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import model, steering

torch = pytest.importorskip("torch", exc_type=ImportError)

from dae_theory.adapters import torch as hooks  # noqa: E402

torch.set_num_threads(1)  # tiny models: threads would only wait for one another


@pytest.fixture
def rng():
    return np.random.default_rng(29)


def _two_layer(rng):
    """The net (5) in torch, and its weights."""
    weights = model.Weights(*(jnp.asarray(matrix) for matrix in rng.standard_normal((2, 4, 6))))
    net = torch.nn.Sequential(torch.nn.Linear(4, 6, bias=False), torch.nn.ReLU(), torch.nn.Linear(6, 4, bias=False))
    net = net.double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor(np.asarray(weights.encoder.T)))
        net[2].weight.copy_(torch.tensor(np.asarray(weights.decoder)))
    return net, weights


def _convolution():
    return torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.BatchNorm2d(3),
        torch.nn.Conv2d(3, 2, 3, padding=1),
    )


def test_the_two_layer_net_responds_as_its_equation(rng, state_of):
    """(11) in torch, called strength by strength, against W₂(h + a v) compiled by JAX."""
    net, weights = _two_layer(rng)
    y, strengths, target = rng.standard_normal((5, 4)), np.linspace(0, 2, 7), rng.standard_normal(4)
    before = state_of(net)
    directions = hooks.mean_directions(net, ["1"], y, batch_size=2)
    v = steering.mean_representation(weights, jnp.asarray(y))
    np.testing.assert_allclose(directions["1"], v, rtol=1e-6)
    respond = hooks.steered(net, {"1": np.asarray(v)}, y)
    found = steering.response_curve(respond, target, strengths, compiled=False)
    expected = steering.response_curve(
        lambda a: steering.steered_denoiser(weights, v, a)(jnp.asarray(y)), target, strengths
    )
    for name in ("distance", "moved", "largest_jump", "largest_step", "monotonicity"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-9, err_msg=name)
    assert state_of(net) == before


def test_maps_and_channels_steer_a_convolution_and_its_images_are_flattened(rng, state_of):
    net, y = _convolution(), torch.randn(4, 2, 5, 5)
    before = state_of(net)
    maps, channels = (hooks.mean_directions(net, ["1"], y, per=per, batch_size=3)["1"] for per in ("map", "channel"))
    with torch.no_grad():
        h = torch.relu(net[0](y))
        assert torch.allclose(maps, h.mean(0), atol=1e-6)
        assert torch.allclose(channels, h.mean((0, 2, 3)), atol=1e-6)
    for v, whole in ((maps, maps[None]), (channels, channels[None, :, None, None])):
        respond = hooks.steered(net, {"1": v}, y)
        with hooks.evaluating(net):
            expected = net[3](net[2](h + 0.7 * whole))
        assert torch.allclose(respond(0.7), expected, atol=1e-6)
        curve = steering.response_curve(respond, y.mean(0), [0.0, 0.5, 1.0], compiled=False)
        assert curve.distance.shape == (4, 3)
        gap = torch.linalg.vector_norm((respond(0.5) - y.mean(0)).flatten(1), dim=1)
        np.testing.assert_allclose(curve.distance[:, 1], gap, rtol=1e-5)
    assert state_of(net) == before


def test_a_run_of_several_passes_is_steered_in_each(rng):
    net, _ = _two_layer(rng)
    y, v = torch.tensor(rng.standard_normal((3, 4))), torch.ones(6, dtype=torch.float64)
    respond = hooks.steered(net, {"1": v}, y, run=lambda net, y: net(net(y)))
    with torch.no_grad():
        shift = 0.3 * v @ net[2].weight.T
        once = net(y) + shift
        assert torch.allclose(respond(0.3), net(once) + shift)


def test_refusals(rng, refused):
    net, _ = _two_layer(rng)
    y = rng.standard_normal((3, 4))
    respond = hooks.steered(net, {"1": torch.ones(6)}, y)
    with refused("respond"):
        steering.response_curve(respond, np.zeros(4), [0.0, 1.0])
    with refused("respond"):
        steering.response_curve(lambda a: torch.ones(2, 3), np.zeros(3), [0.0, 1.0])
    with refused("target"):
        steering.response_curve(respond, np.zeros(3), [0.0, 1.0], compiled=False)
    for arguments, name in (
        ({"per": "image"}, "per"),
        ({"channel_axis": 3}, "channel_axis"),
        ({"channel_axis": 0}, "channel_axis"),
        ({"batch_size": 0}, "batch_size"),
        ({"run": lambda net, y: net(net(y))}, "names"),
    ):
        with refused(name):
            hooks.mean_directions(net, ["1"], y, **arguments)
    with refused("images"):
        hooks.mean_directions(net, ["1"], y[:0])
