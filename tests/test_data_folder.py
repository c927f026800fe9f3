"""Folders of images: order, modes, unreadable files, and sizes made equal without distortion."""

import numpy as np
import pytest
from PIL import Image

from dae_theory import data


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels)).save(path, **options)


@pytest.fixture
def npz(tmp_path):
    def write(**arrays):
        np.savez(tmp_path / "images.npz", **arrays)
        return f"npz:{tmp_path / 'images.npz'}"

    return write


@pytest.fixture
def grey():
    return np.random.default_rng(0).integers(0, 256, (6, 4, 5), dtype=np.uint8)


def test_folder_in_the_order_of_paths_with_classes(tmp_path, grey):
    save(tmp_path / "b" / "deep" / "2.png", grey[2])
    save(tmp_path / "b" / "1.BMP", grey[1])
    save(tmp_path / "a" / "9.tif", grey[0])
    save(tmp_path / "c.pgm", grey[3])
    save(tmp_path / ".hidden" / "0.png", grey[4])
    save(tmp_path / "b" / "._1.png", grey[5])
    (tmp_path / "b" / "notes.txt").write_text("not a picture")
    loaded = data.load_images(f"folder:{tmp_path}")
    np.testing.assert_allclose(loaded.to_pictures(), grey[:4] / 255, atol=1e-15)
    assert [loaded.names[j] for j in loaded.labels] == ["a", "b", "b", "."]


def test_modes_of_files(tmp_path):
    """16 bits, one bit, palette, transparency over white, EXIF rotation."""
    ramp = np.arange(6, dtype=np.uint16).reshape(2, 3) * 13107
    save(tmp_path / "1.png", ramp)
    save(tmp_path / "2.png", np.asarray([[True, False, True], [False, False, True]]))
    colours = np.random.default_rng(3).integers(0, 256, (2, 3, 3), dtype=np.uint8)
    Image.fromarray(colours).quantize(6).save(tmp_path / "3.png")
    clear = np.concatenate([colours, np.zeros((2, 3, 1), dtype=np.uint8)], axis=2)
    save(tmp_path / "4.png", clear)
    turned = Image.fromarray(np.swapaxes(colours, 0, 1)[:, ::-1])
    exif = Image.Exif()
    exif[0x0112] = 8  # the camera was held so that the picture has to be turned left
    turned.save(tmp_path / "5.png", exif=exif)
    pictures = np.asarray(data.load_images(f"folder:{tmp_path}", colour=True).to_pictures())
    np.testing.assert_allclose(pictures[0], np.repeat(ramp[..., None] / 65535, 3, axis=2), atol=1e-12)
    np.testing.assert_allclose(pictures[1, ..., 0], [[1, 0, 1], [0, 0, 1]], atol=1e-12)
    np.testing.assert_allclose(pictures[2], colours / 255, atol=1e-12)
    np.testing.assert_allclose(pictures[3], 1, atol=1e-12)
    np.testing.assert_allclose(pictures[4], colours / 255, atol=1e-12)


def test_all_unreadable_files_are_named_at_once(tmp_path, grey):
    save(tmp_path / "good.png", grey[0])
    (tmp_path / "empty.png").write_bytes(b"")
    whole = tmp_path / "whole.bmp"
    save(whole, np.zeros((50, 50), dtype=np.uint8))
    (tmp_path / "cut.bmp").write_bytes(whole.read_bytes()[:500])
    save(tmp_path / "unknown_range.tif", np.zeros((4, 5), dtype=np.float32))
    with pytest.raises(ValueError, match="3 unreadable") as refusal:
        data.load_images(f"folder:{tmp_path}", size=4)
    assert all(name in str(refusal.value) for name in ("empty.png", "cut.bmp", "unknown_range.tif"))
    assert "good.png" not in str(refusal.value)


def test_different_sizes_need_a_size(tmp_path, refused):
    save(tmp_path / "1.png", np.zeros((4, 5), dtype=np.uint8))
    save(tmp_path / "2.png", np.zeros((5, 5), dtype=np.uint8))
    with refused("size"):
        data.load_images(f"folder:{tmp_path}")
    assert data.load_images(f"folder:{tmp_path}", size=(3, 2)).shape == (3, 2)


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("shape", [(60, 90), (90, 60)])
def test_a_disc_stays_a_disc(npz, fit, shape):
    """Width and height of a centred disc, as standard deviations of its mass, stay equal; black stays black."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    disc = np.hypot(rows - (shape[0] - 1) / 2, columns - (shape[1] - 1) / 2) < 20
    picture = np.asarray(data.load_images(npz(x=disc[None]), size=30, fit=fit).to_pictures()[0])
    axis = np.arange(30) - 14.5
    height = np.sqrt(picture.sum(axis=1) @ axis**2 / picture.sum())
    width = np.sqrt(picture.sum(axis=0) @ axis**2 / picture.sum())
    np.testing.assert_allclose(height, width, rtol=1e-5)
    # A disc of radius 20, scaled by 30/60 or 30/90, has standard deviation radius/2, widened by the pixels.
    np.testing.assert_allclose(width, 20 * (0.5 if fit == "crop" else 1 / 3) / 2, rtol=0.05)
    assert picture[0, 0] == 0


def test_resizing_keeps_constants_and_the_range(npz):
    rng = np.random.default_rng(4)
    values = np.concatenate([np.full((1, 17, 13, 3), 0.3), rng.integers(0, 2, (5, 17, 13, 3)).astype(float)])
    loaded = data.load_images(npz(x=values), size=(7, 9), colour=True)
    assert loaded.shape == (7, 9, 3)
    np.testing.assert_allclose(loaded.to_pictures()[0], 0.3, atol=1e-6)
    assert np.abs(loaded.x).max() <= 1 + 1e-6


def test_cropping_keeps_the_middle_and_padding_everything(npz):
    """Without change of scale, both only choose pixels."""
    values = np.random.default_rng(5).uniform(size=(2, 4, 10))
    source = npz(x=values)
    np.testing.assert_allclose(data.load_images(source, size=4).to_pictures(), values[:, :, 3:7], atol=1e-6)
    padded = data.load_images(source, size=10, fit="pad").to_pictures()
    np.testing.assert_allclose(padded[:, 3:7], values, atol=1e-6)
    np.testing.assert_array_equal(padded[:, [0, 1, 2, 7, 8, 9]], 0)
