"""A module of anybody's, scored in one call: the numbers of a pass written out, the model as it was."""

import functools

import jax
import numpy as np
import pytest

from dae_theory import detection, representation

torch = pytest.importorskip("torch", exc_type=ImportError)

from foreign_nets import FOREIGN, Functional, Normalized, functional  # noqa: E402

from dae_theory.adapters import torch as adapter  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture
def rng():
    return np.random.default_rng(23)


def _state(model):
    tensors = {
        name: tensor.detach().clone().view(torch.uint8) for name, tensor in model.state_dict().items() if tensor.ndim
    }
    flags = [(module.training, len(module._forward_hooks)) for module in model.modules()]
    return tensors, flags, [p.grad is None for p in model.parameters()], torch.random.get_rng_state()


def _same(one, other):
    return (
        one[0].keys() == other[0].keys()
        and all(torch.equal(one[0][name], other[0][name]) for name in one[0])
        and one[1:3] == other[1:3]
        and torch.equal(one[3], other[3])
    )


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_modules_are_scored_in_one_call_and_stay_bit_identical(rng, kind):
    make, settings, names = FOREIGN[kind]
    torch.manual_seed(0)
    model = make().train()
    images, memorized = rng.standard_normal((13, 1, 8, 8)), np.arange(13) < 6
    before = _state(model)
    table = adapter.score_module(model, images, memorized, noise_std=(0.1, 0.5), resamples=20, **settings)
    assert _same(_state(model), before)
    assert adapter.default_names(model, images, 0.1, settings.get("predict")) == names
    layers = list(dict.fromkeys(column.name.split("/")[0] for column in table.columns if "/" in column.name))
    assert layers == (["norm", "norm#2"] if kind == "shared" else names)
    assert {"pixel_std", "input_norm", "denoising_loss σ=0.1", "denoising_loss σ=0.5"} <= {
        c.name for c in table.columns
    }
    one = adapter.module_columns(model, images, noise_std=(0.1, 0.5), batch_size=3, **settings)
    assert [column.name for column in one] == [c.name for c in table.columns if c.name != "combined"]
    for column, other in zip(one, table.columns, strict=False):
        np.testing.assert_allclose(column.scores, other.scores, rtol=2e-3, atol=1e-5, err_msg=column.name)
    assert detection.best_column(table.columns, memorized, np.ones(13, dtype=bool)).name in {
        c.name for c in table.columns
    }


class Counting(torch.nn.Module):
    """Counts its passes in a buffer that it puts another in place of, and has one that cannot be written to."""

    def __init__(self):
        super().__init__()
        self.register_buffer("shared", torch.ones(1, 1).expand(4, 4))
        self.register_buffer("rebound", torch.zeros(()))
        self.register_buffer("written", torch.zeros(()))
        self.act = torch.nn.ReLU()

    def forward(self, x):
        self.rebound = self.rebound + 1
        self.written += 1
        return self.act(x)


def test_buffers_that_a_pass_replaces_or_cannot_write_to_are_what_they_were(rng):
    net = Counting()
    before = dict(net.named_buffers())
    images = rng.standard_normal((6, 1, 4, 4)).astype(np.float32)
    adapter.module_columns(net, images, noise_std=0.1)
    after = dict(net.named_buffers())
    assert all(after[name] is buffer for name, buffer in before.items())
    assert float(net.rebound) == float(net.written) == 0


def test_scores_are_those_of_a_pass_written_out(rng):
    """Pre-activations of a functional ReLU, rectified, largest over positions; minus the squared error as a control."""
    torch.manual_seed(1)
    model = Functional().double()
    images = rng.standard_normal((4, 1, 8, 8))
    columns = {c.name: c.scores for c in adapter.module_columns(model, images, noise_std=0.3, seed=5)}
    noise = [np.random.default_rng([5, 0, i]).standard_normal((1, 8, 8), dtype=np.float32) for i in range(4)]
    y = torch.tensor(images + 0.3 * np.stack(noise).astype(float))
    with torch.no_grad():
        h = functional.relu(model.first(y))
        denoised = model(y).float().numpy()
    expected = representation.spikiness(h.amax((2, 3)).numpy())
    np.testing.assert_allclose(columns["first/gini"], expected.gini, rtol=1e-10)
    np.testing.assert_allclose(
        columns["first/participation_ratio"], -np.asarray(expected.participation_ratio), rtol=1e-10
    )
    np.testing.assert_allclose(columns["denoising_loss"], -((denoised - images) ** 2).sum((1, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(columns["input_norm"], np.linalg.norm(images.reshape(4, -1), axis=1), rtol=1e-12)


def test_pictures_are_denoised_from_the_noise_with_which_they_are_scored(rng):
    torch.manual_seed(1)
    model = Normalized().train()
    images = rng.standard_normal((6, 1, 8, 8)).astype(np.float32)
    before = _state(model)
    rows = [4, 1]
    noised, denoised = adapter.denoise_some(model, images, rows, noise_std=0.3, level=1, seed=5)
    assert _same(_state(model), before)
    columns = {c.name: c.scores for c in adapter.module_columns(model, images, noise_std=(0.1, 0.3), seed=5)}
    losses = -((denoised - images[rows]) ** 2).sum((1, 2, 3))
    np.testing.assert_allclose(losses, columns["denoising_loss σ=0.3"][rows], rtol=1e-5)
    noise = np.random.default_rng([5, 1, 4]).standard_normal((1, 8, 8), dtype=np.float32)
    np.testing.assert_allclose(noised[0], images[4] + np.float32(0.3) * noise, rtol=1e-6)
    for wrong in ([], [6], [-1]):
        with pytest.raises(ValueError, match="rows"):
            adapter.denoise_some(model, images, wrong, noise_std=0.3)


def test_signed_activations_are_refused_where_they_are_said_to_be_rectified(rng, refused):
    model, images = Functional(), rng.standard_normal((4, 1, 8, 8))
    with refused("activation"):
        adapter.module_columns(model, images, noise_std=0.1, activation=None)
    asked = {"noise_std": 0.1, "pooling": representation.flatten}
    identity = adapter.module_columns(model, images, activation=lambda h: h, **asked)
    rectified = adapter.module_columns(model, images, **asked)
    assert not np.array_equal(identity[0].scores, rectified[0].scores)
    behind = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(3, 1, 1))
    asked = [adapter.module_columns(behind, images, noise_std=0.1, activation=each) for each in (None, "relu")]
    np.testing.assert_array_equal(asked[0][0].scores, asked[1][0].scores)


def test_half_precision_lazy_images_and_poolings(rng):
    class Lazy:
        def __len__(self):
            return 5

        def __getitem__(self, index):
            if index >= 5:
                raise IndexError(index)
            return torch.full((1, 8, 8), float(index))

    model = Functional().to(torch.bfloat16)
    for pooling in (representation.flatten, functools.partial(representation.spatial_mean, channel_axis=1)):
        columns = adapter.module_columns(
            model, Lazy(), noise_std=0.1, pooling=pooling, statistics=("std", "gini"), batch_size=2
        )
        assert [c.name for c in columns if not c.control] == [
            f"{n}/{s}" for n in ("first", "second") for s in ("std", "gini")
        ]
        assert all(np.isfinite(c.scores).all() for c in columns)


def test_the_baseline_and_groups_go_through(rng):
    torch.manual_seed(2)
    model, untrained = Functional(), Functional()
    images, memorized, groups = rng.standard_normal((24, 1, 8, 8)), np.arange(24) < 12, np.arange(24) // 2
    table = adapter.score_module(
        model, images, memorized, noise_std=0.2, baseline=untrained, groups=groups, resamples=50, combine=False
    )
    assert table.baseline
    assert table.reported_groups == (3, 3)
    own = adapter.score_module(untrained, images, memorized, noise_std=0.2, groups=groups, resamples=50, combine=False)
    for row in table.rows:
        gap = row.auroc.estimate - own[row.name].auroc.estimate
        np.testing.assert_allclose(row.difference.estimate, gap, atol=1e-12, err_msg=row.name)
    assert table["input_norm"].difference.estimate == 0


def test_refusals(rng, refused):
    model, images, memorized = Functional(), rng.standard_normal((6, 1, 8, 8)), np.arange(6) < 3
    for argument, settings in (
        ("noise_std", {"noise_std": -0.1}),
        ("noise_std", {"noise_std": (0.1, 0.1)}),
        ("names", {"names": ["third"]}),
        ("activation", {"activation": "gelu"}),
        ("pooling", {"pooling": "max"}),
        ("baseline", {"baseline": "untrained.pt"}),
        ("activation", {"activation": torch.relu_}),
        ("statistics", {"statistics": ("entropy",)}),
        ("batch_size", {"batch_size": 0}),
        ("groups", {"groups": np.arange(5)}),
    ):
        with refused(argument):
            adapter.score_module(model, images, memorized, **{"noise_std": 0.1, "resamples": 20, **settings})
    with refused("memorized"):
        adapter.score_module(model, images, memorized[1:], noise_std=0.1)
    with refused("images"):
        adapter.module_columns(model, [], noise_std=0.1, names=["first"])
    with refused("images"):
        adapter.module_columns(model, np.full((2, 1, 8, 8), np.nan), noise_std=0.1, names=["first"])
    with refused("model"):
        adapter.module_columns(lambda x: x, images, noise_std=0.1)
    with refused("model"):
        adapter.module_columns(torch.nn.Linear(3, 3), images, noise_std=0.1)


def test_the_twin_in_jax_gives_the_same_scores(rng):
    torch.manual_seed(4)
    model = torch.nn.Sequential(
        torch.nn.Linear(5, 9, bias=False), torch.nn.ReLU(), torch.nn.Linear(9, 5, bias=False)
    ).double()
    encoder, decoder = (jax.numpy.asarray(model[index].weight.detach().numpy()) for index in (0, 2))
    images, memorized = rng.standard_normal((20, 5)), np.arange(20) < 10

    def denoiser(y, noise_std):
        h = jax.nn.relu(y @ encoder.T)
        return h @ decoder.T, {"1": h}

    ours = detection.score_denoiser(denoiser, images, memorized, noise_std=(0.1, 0.2), resamples=20, combine=False)
    theirs = adapter.score_module(model, images, memorized, noise_std=(0.1, 0.2), resamples=20, combine=False)
    for one, other in zip(ours.columns, theirs.columns, strict=True):
        assert one.name == other.name
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-6, err_msg=one.name)
