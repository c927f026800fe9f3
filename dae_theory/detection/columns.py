"""Columns: one oriented score of every sample, of a representation or a trivial control of the inputs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dae_theory import representation
from dae_theory.checks import Refusal
from dae_theory.detection import detectors


@dataclass(frozen=True)
class Column:
    """One oriented score of all samples.

    Attributes:
        name: What it is called in the table.
        scores: Larger means memorized, (n,).
        control: Whether it is a trivial control and not a score of a representation.
        seconds: Time per sample, after compilation; NaN when it was not measured.
    """

    name: str
    scores: np.ndarray
    control: bool = False
    seconds: float = float("nan")


def timed(statistic: Callable[..., Any], *arguments: Any) -> tuple[np.ndarray, float]:
    """Scores, and seconds per sample: the fastest of three calls after the first, which may compile."""
    scores, seconds = np.asarray(statistic(*arguments), dtype=float), []
    for _ in range(3):
        start = time.perf_counter()
        statistic(*arguments)
        seconds.append(time.perf_counter() - start)
    return scores, min(seconds) / len(scores)


def score_columns(
    activations: Any,
    pooling: representation.Pooling = representation.flatten,
    statistics: Sequence[detectors.Statistic] = detectors.STATISTICS,
) -> list[Column]:
    """The scores of activations (n, ...), pooled to vectors (n, p), as columns of the table.

    Args:
        activations: (n, ...), NumPy, JAX or torch; or a list of such arrays, batches in order, as `capture` gives it.
        pooling: From (n, ...) to (n, p).
        statistics: The scores.

    Raises:
        ValueError: `activations` has fewer than two axes, or NaN or infinite entries; its batches do not fit together.
    """
    h = _whole(activations)
    if h.ndim < 2:
        raise Refusal(f"activations must have shape (n, ...); got {h.shape}")
    h = pooling(h)
    columns = []
    for statistic in statistics:
        scores, seconds = timed(statistic, h)
        columns.append(Column(_name(statistic), scores, seconds=seconds))
    return columns


def _whole(activations: Any) -> Any:
    """One array of all samples: the batches of a list one after another."""
    batched = isinstance(activations, (list, tuple)) and any(np.ndim(part) > 1 for part in activations[:1])
    if not batched or not hasattr(activations[0], "dtype"):
        return representation.as_array("activations", activations)
    parts = [representation.as_array("activations", part) for part in activations]
    if len({(part.shape[1:], part.dtype) for part in parts}) > 1:
        shapes = [f"{part.dtype}{part.shape}" for part in parts]
        raise Refusal(f"activations must be batches of one shape and dtype; got {', '.join(shapes[:5])} …")
    return representation.as_array("activations", np.concatenate([np.asarray(part) for part in parts]))


def control_columns(inputs: Any, denoised: Any = None) -> list[Column]:
    """The trivial controls of the inputs (n, ...); with `denoised`, f of the noised inputs, the loss as well."""
    columns = []
    for statistic, arguments in (
        (detectors.pixel_std, (inputs,)),
        (detectors.input_norm, (inputs,)),
        (detectors.denoising_loss, (inputs, denoised)),
    ):
        if all(argument is not None for argument in arguments):
            scores, seconds = timed(statistic, *arguments)
            columns.append(Column(_name(statistic), scores, control=True, seconds=seconds))
    return columns


def _name(statistic: Any) -> str:
    return getattr(statistic, "__name__", type(statistic).__name__)
