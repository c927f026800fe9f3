"""Scores of a network batch by batch: noise the images, denoise them, score what its layers answer.

    y = x + σ ε,   f(y) and the activations h_l(y) of every layer l,   scores of the pooled h_l.

Noise belongs to the seed, the level and the image's place in the list, so the batch size changes no draw. One batch is
held at a time; pooled activations of a layer wait until they are worth a call, and only their scores are kept.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dae_theory import checks, representation
from dae_theory.checks import Refusal
from dae_theory.detection import detectors
from dae_theory.detection.columns import Column
from dae_theory.detection.evaluation import evaluate
from dae_theory.detection.table import ScoreTable

_WAITING = 2**15  # numbers of a layer that wait for their scores: small batches one by one cost more than their scores
Forward = Callable[[np.ndarray, float], tuple[Any, Mapping[str, Any]]]


def channels_max(h: Any) -> Any:
    """The largest activation of each channel over positions, (b, ...) → (b, channels), by the number of axes.

    (b, channels) stays; (b, tokens, channels) as of transformers; (b, channels, height, width[, depth]) as of torch's
    convolutions. For other layouts: `partial(representation.spatial_max, channel_axis=...)`.
    """
    return h if h.ndim == 2 else representation.spatial_max(h, channel_axis=-1 if h.ndim == 3 else 1)


def batches(images: Any, size: int) -> Iterator[tuple[int, np.ndarray]]:
    """First index and images of every batch, (b, ...) in float32 unless they are of float64; one is read at a time.

    Raises:
        ValueError: `images` are of various shapes, or hold NaN or infinity.
    """
    for start in range(0, len(images), size):
        part = [images[index] for index in range(start, min(start + size, len(images)))]
        arrays = [np.asarray(image.detach().cpu() if hasattr(image, "detach") else image) for image in part]
        if len({array.shape for array in arrays}) > 1:
            raise Refusal(f"images must have one shape; got {sorted({array.shape for array in arrays})}")
        batch = np.stack(arrays)
        if batch.dtype != np.float64:
            batch = batch.astype(np.float32)
        checks.finite("images", batch)
        yield start, batch


def noised(batch: np.ndarray, noise_std: float, seed: int, level: int, start: int) -> np.ndarray:
    """x + σ ε of images from index `start` on, (b, ...)."""
    noise = np.empty(batch.shape, np.float32)
    for index in range(len(batch)):
        np.random.default_rng([seed, level, start + index]).standard_normal(
            dtype=np.float32, out=noise[index : index + 1]
        )
    return batch + np.asarray(noise_std, batch.dtype) * noise.astype(batch.dtype, copy=False)


def stream_columns(
    forward: Forward,
    images: Any,
    *,
    noise_std: Sequence[float] | float,
    statistics: Sequence[str] = tuple(representation.ORIENTATION),
    batch_size: int = 16,
    seed: int = 0,
) -> list[Column]:
    """The columns of a table, one for each score of each layer at each noise level, and the trivial controls.

    Columns are named layer/score, with several levels layer/score σ=level; `seconds` are those of a whole forward pass
    at one level, scoring included, since the scores of all layers come from one.

    Args:
        forward: From noised images (b, ...) and σ to their denoised versions, the shape of the images, and pooled
            activations (b, p) by the name of the layer, NumPy, JAX or torch.
        images: n images of any one shape: an array, or anything with a length and an index.
        noise_std: σ, one or several.
        statistics: Which scores of `representation.Spikiness`.
        batch_size: Images at once.
        seed: Seed of the noise.

    Raises:
        ValueError: `images` is empty, of various shapes or not finite; `noise_std` is negative or repeats;
            `statistics`, `batch_size` or `seed` is not what is described above; `forward` returns images of another
            shape, or activations that are not (b, p).

    >>> import numpy as np
    >>> from dae_theory import detection
    >>> def forward(noised, noise_std):
    ...     return 0.5 * noised, {"hidden": np.maximum(noised.reshape(len(noised), -1), 0)}
    >>> columns = detection.stream_columns(forward, np.ones((4, 2, 2)), noise_std=0.1, statistics=("std",))
    >>> print([column.name for column in columns])
    ['hidden/std', 'denoising_loss', 'pixel_std', 'input_norm']
    """
    batch_size, seed = checks.integer("batch_size", batch_size, 1), checks.integer("seed", seed, 0)
    levels, statistics = levels_of(noise_std), names_of(statistics)
    if not hasattr(images, "__len__") or len(images) == 0:
        raise Refusal(f"images must be a non-empty sequence of images; got {type(images).__name__}")
    parts: dict[str, list[np.ndarray]] = {}
    waiting: dict[tuple[str, str], list[np.ndarray]] = {}

    def keep(name: str, values: Any) -> None:
        parts.setdefault(name, []).append(np.asarray(values, dtype=float))

    def score(least: int) -> None:
        for (layer, suffix), rows in waiting.items():
            if rows and len(rows) * rows[0].size >= least:
                for name, values in _scores(layer, np.concatenate(rows), statistics).items():
                    keep(f"{layer}/{name}{suffix}", values)
                rows.clear()

    spent = 0.0
    for start, batch in batches(images, batch_size):
        for number, level in enumerate(levels):
            suffix = f" σ={level:g}" if len(levels) > 1 else ""
            y = noised(batch, level, seed, number, start)
            began = time.perf_counter()
            denoised, activations = forward(y, level)
            for layer, h in activations.items():
                if (layer, suffix) not in waiting:  # columns stand in the order of the pass, whoever waits longer
                    waiting[layer, suffix] = []
                    parts |= {f"{layer}/{name}{suffix}": [] for name in statistics}
                waiting[layer, suffix].append(_pooled(layer, h, len(batch)))
            score(_WAITING)
            spent += time.perf_counter() - began
            keep(
                f"denoising_loss{suffix}",
                detectors.denoising_loss(batch, np.asarray(_images("forward", denoised, batch))),
            )
        keep("pixel_std", detectors.pixel_std(batch))
        keep("input_norm", detectors.input_norm(batch))
    began = time.perf_counter()
    score(0)
    spent += time.perf_counter() - began
    seconds = spent / (len(images) * len(levels))
    controls = ("pixel_std", "input_norm", "denoising_loss")
    return [
        Column(
            name,
            np.concatenate(values),
            control="/" not in name,
            seconds=float("nan") if "/" not in name else seconds,
        )
        for name, values in sorted(parts.items(), key=lambda part: part[0].startswith(controls))
    ]


def levels_of(noise_std: Any) -> tuple[float, ...]:
    """σ, one or several, as numbers.

    Raises:
        ValueError: `noise_std` is empty, negative, not finite or repeats.
    """
    levels = np.asarray(noise_std)
    checks.non_negative("noise_std", levels)
    if levels.ndim > 1 or levels.size == 0 or np.unique(levels).size < levels.size:
        raise Refusal(f"noise_std must be one number or several different ones; got {noise_std!r}")
    return tuple(float(level) for level in levels.reshape(-1))


def names_of(statistics: Any) -> tuple[str, ...]:
    """Names of scores.

    Raises:
        ValueError: `statistics` is empty or holds another name.
    """
    names = (statistics,) if isinstance(statistics, str) else tuple(statistics)
    if not names or not set(names) <= set(representation.ORIENTATION):
        raise Refusal(f"statistics must be among {list(representation.ORIENTATION)}; got {statistics!r}")
    return names


def _pooled(layer: str, h: Any, count: int) -> np.ndarray:
    """A copy of pooled activations (b, p), since they wait."""
    h = np.array(h if isinstance(h, np.ndarray) else representation.as_array("activations", h))
    if h.ndim != 2 or h.shape[0] != count:
        raise Refusal(f"activations of {layer!r} must be ({count}, p) after pooling; got {h.shape}")
    return h


def _scores(layer: str, h: np.ndarray, statistics: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Oriented scores of pooled activations (n, p)."""
    try:
        found = representation.numpy_scores(h, statistics)
    except ValueError as error:
        raise Refusal(f"activations of {layer!r} must be finite; {error}") from error
    return {name: representation.ORIENTATION[name] * values for name, values in found.items()}


def _images(name: str, denoised: Any, batch: np.ndarray) -> Any:
    if tuple(np.shape(denoised)) != batch.shape:
        raise Refusal(f"{name} must return images of the shape {batch.shape}; got {tuple(np.shape(denoised))}")
    return denoised


def score_denoiser(
    denoiser: Callable[[Any, Any], tuple[Any, Mapping[str, Any]]],
    images: Any,
    memorized: Any,
    *,
    noise_std: Sequence[float] | float,
    pooling: representation.Pooling = channels_max,
    statistics: Sequence[str] = tuple(representation.ORIENTATION),
    baseline: Callable[[Any, Any], tuple[Any, Mapping[str, Any]]] | None = None,
    groups: Any = None,
    batch_size: int = 64,
    seed: int = 0,
    **settings: Any,
) -> ScoreTable:
    """The table of a denoiser in JAX, which also returns its activations; `adapters.torch.score_module` is its twin.

    The table holds its columns, for `best_column`, `cross_fit`, saving and plotting.

    Args:
        denoiser: (y, σ) → (f(y), {layer: activations (b, ...)}), y of shape (b, ...), σ a scalar; it is compiled. For
            the net of (5): `lambda y, s: (model.denoise(w, y), {"hidden": model.represent(w, y)})`.
        images: n samples or images, each (...).
        memorized: Labels, (n,).
        noise_std: σ, one or several.
        pooling: From activations (b, ...) to (b, p).
        statistics: Which scores of `representation.Spikiness`.
        baseline: Another denoiser with the same layers, which cannot have memorized the images.
        groups: What images belong to, (n,).
        batch_size: Images at once; each new batch shape compiles once.
        seed: Seed of noise, split and bootstrap.
        settings: Passed on to `evaluate`.

    Raises:
        ValueError: As `stream_columns` and `evaluate`.

    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from dae_theory import detection, model, theory
    >>> x = np.random.default_rng(0).normal(size=(20, 32))
    >>> net = theory.memorizing_weights(jnp.asarray(x[:10]), noise_std=0.1, weight_decay=0.0)
    >>> table = detection.score_denoiser(
    ...     lambda y, noise_std: (model.denoise(net, y), {"hidden": model.represent(net, y)}),
    ...     x,
    ...     np.arange(20) < 10,
    ...     noise_std=0.1,
    ...     pooling=lambda h: h,
    ...     resamples=20,
    ... )
    >>> len(table.rows), table.reported_on
    (10, (5, 5))
    """

    def columns(net: Callable[[Any, Any], tuple[Any, Mapping[str, Any]]]) -> list[Column]:
        @jax.jit
        def compiled(y: Any, level: Any) -> tuple[Any, dict[str, Any]]:
            denoised, activations = net(y, level)
            return denoised, {layer: pooling(h) for layer, h in activations.items()}

        def forward(y: np.ndarray, level: float) -> tuple[Any, Mapping[str, Any]]:
            given = jnp.asarray(y)
            return compiled(given, jnp.asarray(level, given.dtype))

        return stream_columns(
            forward, images, noise_std=noise_std, statistics=statistics, batch_size=batch_size, seed=seed
        )

    return evaluate(
        jax.random.key(seed),
        columns(denoiser),
        memorized,
        groups=groups,
        baseline=None if baseline is None else columns(baseline),
        **settings,
    )
