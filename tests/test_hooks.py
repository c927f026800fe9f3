"""Hooks into torch models: captured and steered activations are the model's own, and the model stays as it was."""

import collections
import functools

import numpy as np
import pytest

from dae_theory import representation

torch = pytest.importorskip("torch", exc_type=ImportError)

from dae_theory.adapters import torch as hooks  # noqa: E402

torch.set_num_threads(1)  # tiny models: threads would only wait for one another


@pytest.fixture
def rng():
    return np.random.default_rng(19)


class _Several(torch.nn.Module):
    """Returns what the tests ask for: tuples, lists, named tuples, mappings, nothing."""

    def __init__(self, wrap):
        super().__init__()
        self.linear = torch.nn.Linear(3, 3)
        self.inner = _Wrap(wrap)

    def forward(self, x):
        return self.inner(self.linear(x))


class _Wrap(torch.nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(x)


Pair = collections.namedtuple("Pair", "first second")
WRAPS = {
    "tensor": lambda x: x,
    "tuple": lambda x: (x, 2 * x),
    "list": lambda x: [x, 2 * x],
    "named tuple": lambda x: Pair(x, 2 * x),
    "mapping": lambda x: {"sample": x, "other": 2 * x},
    "nested": lambda x: (None, (x, 2 * x)),
}


def _first(output):
    while not isinstance(output, torch.Tensor):
        parts = list(output.values()) if isinstance(output, dict) else output
        output = next(part for part in parts if part is not None)
    return output


@pytest.mark.parametrize("kind", WRAPS)
def test_capture_and_add_see_the_first_tensor_of_any_structure(kind, state_of):
    model, x = _Several(WRAPS[kind]), torch.randn(4, 3)
    before, plain = state_of(model), model(x)
    with hooks.capture(model, ["inner", "linear"]) as captured:
        model(x)
        model(x)
    for name in ("inner", "linear"):
        assert len(captured[name]) == 2
        assert torch.equal(captured[name][0], _first(plain).detach())
        assert not captured[name][0].requires_grad
    v = torch.tensor([1.0, 2.0, 3.0])
    with hooks.add(model, {"inner": v}, 0.5):
        steered = model(x)
    assert type(steered) is type(plain)
    assert torch.equal(_first(steered), _first(plain) + 0.5 * v[None])
    if kind == "named tuple":
        assert torch.equal(steered.second, plain.second)
    if kind == "mapping":
        assert torch.equal(steered["other"], plain["other"])
    assert state_of(model) == before


def test_hooks_are_removed_when_the_model_or_a_hook_raises(state_of):
    def fail(x):
        raise RuntimeError("inside")

    model = _Several(fail)
    before = state_of(model)
    for context in (
        lambda: hooks.capture(model, ["linear"]),
        lambda: hooks.add(model, {"linear": torch.ones(3)}),
        lambda: hooks.evaluating(model),
    ):
        with pytest.raises(RuntimeError, match="inside"), context():
            model(torch.ones(1, 3))
        assert state_of(model) == before
    model = _Several(lambda x: None)
    before = state_of(model)
    with pytest.raises(ValueError, match="names"), hooks.capture(model, ["inner"]):
        model(torch.ones(1, 3))
    with pytest.raises(ValueError, match="directions"), hooks.add(model, {"inner": torch.ones(3)}):
        model(torch.ones(1, 3))
    with pytest.raises(ValueError, match="directions"), hooks.add(model, {"linear": torch.ones(2)}):
        model(torch.ones(1, 3))
    assert state_of(model) == before


def test_steering_a_convolution_adds_to_every_position_and_keeps_half_precision():
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3, padding=1)).to(torch.bfloat16)
    x, v = torch.randn(2, 1, 5, 5, dtype=torch.bfloat16), np.array([1.0, -2.0])
    plain = model(x)
    with hooks.add(model, {"0": v}, 2.0):
        steered = model(x)
    assert steered.dtype == torch.bfloat16
    expected = plain + 2 * torch.tensor(v, dtype=torch.bfloat16)[None, :, None, None]
    assert torch.equal(steered, expected)
    whole = torch.randn(2, 5, 5)
    with hooks.add(model, {"0": whole}, 2.0):
        assert torch.equal(model(x), plain + 2 * whole.to(torch.bfloat16)[None])


def test_only_what_reduce_keeps_is_held(rng):
    """Full activations are gone when the next layer has run: weak references to them are dead."""
    import weakref

    model = torch.nn.Sequential(*[torch.nn.Linear(8, 8) for _ in range(3)])
    alive = []

    def reduce(activation):
        alive.append(weakref.ref(activation))
        return float(activation.sum())

    with torch.no_grad(), hooks.capture(model, ["0", "1", "2"], reduce) as captured:
        output = model(torch.randn(2, 8))
    assert [type(entry) for name in "012" for entry in captured[name]] == [float] * 3
    assert captured["2"][0] == float(output.sum())
    assert [reference() is None for reference in alive] == [True] * 3


def test_names_are_checked_and_near_matches_listed(refused):
    model = torch.nn.Sequential(collections.OrderedDict(encoder=torch.nn.Linear(2, 2), decoder=torch.nn.Linear(2, 2)))
    assert hooks.module_names(model) == ["encoder", "decoder"]
    with pytest.raises(ValueError, match=r"names.*encoder"), hooks.capture(model, ["encodr"]):
        pass
    for names in ([], "encoder", ["encoder", "encoder"], [""], None, 3, [None]):
        with refused("names"), hooks.capture(model, names):
            pass
    with pytest.raises(ValueError, match=r"names.*decoder"), hooks.add(model, {"decodr": torch.ones(2)}):
        pass


def test_a_module_that_is_not_called_is_an_error_and_no_empty_list(state_of):
    class Skips(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)

        def forward(self, x):
            return self.used(x)

    model = Skips()
    before = state_of(model)
    with pytest.raises(ValueError, match=r"names.*unused"), hooks.capture(model, ["used", "unused"]):
        model(torch.ones(1, 2))
    with hooks.capture(model, ["used"]) as captured:  # emptied by the user: called all the same
        model(torch.ones(1, 2))
        captured["used"].clear()
    assert state_of(model) == before
    with pytest.warns(DeprecationWarning, match="jit"):
        traced = torch.jit.trace(model, torch.ones(1, 2))
    with pytest.raises(ValueError, match="model must not be traced"), hooks.capture(traced, ["used"]):
        traced(torch.ones(1, 2))


def test_shared_modules_have_their_names_and_every_call():
    shared = torch.nn.Linear(2, 2)
    model = torch.nn.ModuleDict({"first": shared, "second": shared})
    x = torch.randn(3, 2)
    for name in ("first", "second"):
        with hooks.capture(model, [name]) as captured:
            model["second"](model["first"](x))
        assert torch.equal(captured[name][1], shared(shared(x)).detach())
    with pytest.raises(ValueError, match=r"names.*which are one"), hooks.capture(model, ["first", "second"]):
        pass


def test_what_reduce_keeps_is_not_overwritten_by_an_in_place_relu():
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ReLU(inplace=True))
    x = torch.randn(5, 3)
    expected = model[0](x).detach().clone()
    assert (expected < 0).any()
    for reduce in (lambda h: h, lambda h: h.reshape(-1), lambda h: h.numpy()):
        with hooks.evaluating(model), hooks.capture(model, ["0"], reduce) as captured:
            model(x)
        np.testing.assert_array_equal(np.asarray(captured["0"][0]).reshape(5, 3), expected)


def test_a_model_whose_statistics_would_move_is_refused(state_of):
    model, x = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2)), torch.randn(2, 1, 5, 5)
    before = state_of(model)
    with pytest.raises(ValueError, match=r"evaluation mode.*'1'"), hooks.capture(model, ["0"]):
        model(x)
    with hooks.evaluating(model), hooks.capture(model, ["0"]):
        model(x)
    assert state_of(model) == before


def test_pooling_reduces_a_tensor_where_it_is():
    h = torch.randn(2, 3, 4, 5)
    for pooling, expected in (
        (representation.spatial_max, h.amax((2, 3))),
        (representation.spatial_mean, h.mean((2, 3))),
    ):
        assert torch.equal(functools.partial(pooling, channel_axis=1)(h), expected)
        assert torch.equal(pooling(h[:, :, 0, 0]), h[:, :, 0, 0])
        for axis in (0, 4, 9, -5):
            with pytest.raises(ValueError, match="channel_axis"):
                pooling(h, channel_axis=axis)
    assert torch.equal(representation.flatten(h), h.reshape(2, -1))


@pytest.mark.parametrize("shape", [(2,), (2, 1, 1), (1, 2, 1, 1), (2, 5, 5), (1, 2, 5, 5), (1, 5, 5)])
def test_a_direction_broadcasts_to_the_activation(shape):
    model, x, v = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3, padding=1)), torch.randn(3, 1, 5, 5), torch.randn(shape)
    with hooks.add(model, {"0": v}, 0.5):
        steered = model(x)
    whole = v[:, None, None] if len(shape) == 1 else v
    assert torch.equal(steered, model(x) + 0.5 * whole)


def test_directions_and_strengths_are_finite_numbers_that_fit(refused):
    model, x = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3, padding=1)), torch.randn(3, 1, 5, 5)
    for argument, directions, strength in (
        ("directions", {"0": torch.tensor([1.0, float("nan")])}, 1.0),
        ("directions", ["0"], 1.0),
        ("strength", {"0": torch.ones(2)}, float("nan")),
        ("strength", {"0": torch.ones(2)}, "2"),
        ("strength", {"0": torch.ones(2)}, None),
        ("strength", {"0": torch.ones(2)}, [1.0, 2.0]),
        ("directions", {"0": torch.ones(3, 2, 5, 5)}, 1.0),
        ("directions", {"0": torch.ones(3, 1, 1)}, 1.0),
    ):
        with refused(argument), hooks.add(model, directions, strength):
            model(x)
    with refused("channel_axis"), hooks.add(model, {"0": torch.ones(2)}, channel_axis=9):
        model(x)


def test_hooks_run_in_the_order_in_which_they_are_opened():
    model, x, v = torch.nn.Sequential(torch.nn.Linear(3, 3)), torch.randn(2, 3), torch.ones(3)
    plain = model(x).detach()
    with hooks.add(model, {"0": v}), hooks.capture(model, ["0"]) as inside:
        model(x)
    with hooks.capture(model, ["0"]) as around, hooks.add(model, {"0": v}):
        model(x)
    assert torch.equal(inside["0"][0], plain + 1)
    assert torch.equal(around["0"][0], plain)
