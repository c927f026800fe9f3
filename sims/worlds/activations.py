"""Activations of any network, saved in one .npz file: one reader for every sim, whose refusals name what is wrong."""

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dae_theory import representation
from dae_theory.checks import Refusal

POOLINGS: dict[str, Callable[..., Any]] = {
    "max": representation.spatial_max,
    "mean": representation.spatial_mean,
    "none": representation.flatten,
}
RESERVED = ("memorized", "inputs", "denoised")
_UNREADABLE = (ValueError, OSError, EOFError, KeyError, zlib.error, zipfile.BadZipFile)


@dataclass(frozen=True)
class Activations:
    """What layers answered to n samples, and which samples are memorized.

    Attributes:
        layers: an array (n, ...) for each layer, finite numbers.
        memorized: booleans, (n,), at least two of either.
        inputs: the samples themselves, (n, ...); None where the file has none.
        denoised: f of the noised samples, as `inputs`; None where the file has none.
    """

    layers: dict[str, np.ndarray]
    memorized: np.ndarray
    inputs: np.ndarray | None = None
    denoised: np.ndarray | None = None


def read_activations(file: str) -> Activations:
    """The activations in a file of `numpy.savez`: `memorized`, at least one layer, perhaps `inputs` and `denoised`.

    Raises:
        ValueError: naming --activations or the array: no such file, no npz file, pickled or text arrays, arrays of
            other lengths than `memorized`, NaN or infinity, or labels that are not 0 and 1, two of either at least.
    """
    arrays = _arrays(file)
    layers = [name for name in arrays if name not in RESERVED]
    if "memorized" not in arrays or not layers:
        raise Refusal(f"--activations must hold `memorized` and a layer; {file} holds {sorted(arrays) or 'nothing'}")
    memorized = _labels(file, arrays["memorized"])
    for name in arrays.keys() - {"memorized"}:
        _check(file, name, arrays[name], len(memorized))
    if "denoised" in arrays and arrays["denoised"].shape != arrays.get("inputs", np.empty(0)).shape:
        raise Refusal(f"denoised in {file} must stand beside `inputs` of its shape {arrays['denoised'].shape}")
    return Activations({name: arrays[name] for name in layers}, memorized, arrays.get("inputs"), arrays.get("denoised"))


def pooled(pooling: str, channel_axis: int) -> representation.Pooling:
    """From activations (n, ...) to vectors (n, p): over positions where there are any, else as they are."""
    over_positions = partial(POOLINGS[pooling], channel_axis=channel_axis) if pooling != "none" else POOLINGS["none"]
    return lambda h: over_positions(h) if h.ndim > 2 else representation.flatten(h)


def _arrays(file: str) -> dict[str, np.ndarray]:
    if not Path(file).is_file():
        raise Refusal(f"--activations must be a file; got {file!r}")
    if not zipfile.is_zipfile(file):
        raise Refusal(f"--activations must be an .npz file, written by numpy.savez; {file} is none")
    try:
        with np.load(file, allow_pickle=False) as saved:
            return {name: saved[name] for name in saved.files}
    except _UNREADABLE as error:
        raise Refusal(f"--activations must be an .npz of numeric arrays; {file}: {error}") from error


def _labels(file: str, given: np.ndarray) -> np.ndarray:
    """`memorized` as booleans."""
    labels = given.reshape(-1) if given.shape == (given.size, 1) else given
    if labels.ndim != 1 or labels.dtype.kind not in "buif" or not np.isin(labels, (0, 1)).all():
        shown = np.unique(labels)[:5].tolist() if labels.size else []
        raise Refusal(f"memorized in {file} must be a vector of 0 and 1; got {labels.dtype}{given.shape} of {shown}")
    counts = {value: int(np.sum(labels == value)) for value in (0, 1)}
    if min(counts.values()) < 2:
        raise Refusal(f"memorized in {file} must mark at least two samples 1 and two 0; got {counts}")
    return labels.astype(bool)


def _check(file: str, name: str, values: np.ndarray, count: int) -> None:
    if values.dtype.kind not in "buif":
        raise Refusal(f"{name} in {file} must hold numbers; got dtype {values.dtype}")
    if values.ndim < 2 or values.shape[0] != count or 0 in values.shape:
        raise Refusal(
            f"{name} in {file} must have shape ({count}, ...), one entry a sample as `memorized`; got {values.shape}"
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise Refusal(f"{name} in {file} must be finite; it holds NaN or infinity")
