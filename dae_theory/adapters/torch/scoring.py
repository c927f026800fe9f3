"""Any torch module, scored in one call: noise, batches, hooks, rectification, pooling, scores, table."""

# Where PyTorch is not installed, pyright takes this package for it.
# pyright: reportAttributeAccessIssue=false

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import jax
import numpy as np
import torch

from dae_theory import detection, representation
from dae_theory.adapters.torch import hooks
from dae_theory.adapters.torch.layers import default_names
from dae_theory.adapters.torch.passes import Predict, denoise, place_of, unchanged
from dae_theory.checks import Refusal

Activation = Callable[[torch.Tensor], torch.Tensor]


def relu(h: torch.Tensor) -> torch.Tensor:
    """max(h, 0), the activation that a functional ReLU hides from hooks; of non-negative values themselves."""
    return torch.relu(h)


def score_module(
    model: torch.nn.Module,
    images: Any,
    memorized: Any,
    *,
    noise_std: Sequence[float] | float,
    predict: Predict | None = None,
    names: Sequence[str] | None = None,
    activation: Activation | str | None = "relu",
    pooling: representation.Pooling = detection.channels_max,
    statistics: Sequence[str] = tuple(representation.ORIENTATION),
    baseline: torch.nn.Module | None = None,
    groups: Any = None,
    batch_size: int = 16,
    seed: int = 0,
    **settings: Any,
) -> detection.ScoreTable:
    """Which images has a denoiser memorized? Scores of every layer at every noise level, and the table.

    score_module(net, images, memorized, noise_std=(0.1, 0.3), baseline=untrained)

    The table holds its columns, for `best_column`, `cross_fit`, saving and plotting. The model is left bit-identical:
    its parameters, buffers, flags, and torch's random state.

    Args:
        model, images: As `module_columns`, and so noise_std, predict, names, activation, pooling, statistics,
            batch_size and seed.
        memorized: Labels, (n,): True for images that are known (or suspected) to be memorized.
        baseline: A net of the same layers that cannot have memorized them, untrained or trained on others; differences
            from it are then the headline.
        groups: What images belong to, (n,): their source image, person, scene.
        settings: Passed on to `detection.evaluate`: fit, fpr, level, resamples, combine.

    Raises:
        ValueError: As `module_columns` and `detection.evaluate`.

    >>> import numpy as np
    >>> import torch
    >>> from dae_theory.adapters.torch import score_module
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    >>> images = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    >>> table = score_module(net, images, np.arange(20) < 10, noise_std=0.1, resamples=20)
    >>> table.reported_on
    (5, 5)
    """
    if np.shape(memorized) != (len(images),):
        raise Refusal(f"memorized must have one label for each of {len(images)} images; got {np.shape(memorized)}")
    asked: dict[str, Any] = {
        "noise_std": noise_std,
        "predict": predict,
        "activation": activation,
        "pooling": pooling,
        "statistics": statistics,
        "batch_size": batch_size,
        "seed": seed,
    }
    if not isinstance(baseline, torch.nn.Module | None):
        raise Refusal(f"baseline must be a torch.nn.Module or None; got {type(baseline).__name__}")
    if baseline is not None and names is None:
        names = default_names(model, images, noise_std, predict)
    columns = module_columns(model, images, names=names, **asked)
    reference = None if baseline is None else module_columns(baseline, images, names=names, **asked)
    key = jax.random.key(seed)
    return detection.evaluate(key, columns, memorized, groups=groups, baseline=reference, **settings)


def module_columns(
    model: torch.nn.Module,
    images: Any,
    *,
    noise_std: Sequence[float] | float,
    predict: Predict | None = None,
    names: Sequence[str] | None = None,
    activation: Activation | str | None = "relu",
    pooling: representation.Pooling = detection.channels_max,
    statistics: Sequence[str] = tuple(representation.ORIENTATION),
    batch_size: int = 16,
    seed: int = 0,
) -> list[detection.Column]:
    """The scores alone, where no labels are known: as `detection.stream_columns`, of a torch module.

    Args:
        model: From noised images (b, ...) to denoised ones, on any device and in any dtype. Of a tuple, list or mapping
            the first tensor is taken.
        images: n images of one shape: an array, a tensor, or anything with a length and an index. They are cast to the
            model's device and dtype a batch at a time.
        noise_std: σ, one or several.
        predict: From (model, noised images (b, ...), σ as a tensor (b,)) to denoised images, where the model's own call
            is another: `lambda net, y, s: net(y, s)`, or y − s ε(y, s) of a net that predicts the noise.
        names: Modules to read, as `module_names` gives them. None: the modules that are an activation function, if
            there are any; else those with weights, without one whose output goes straight into another or into a
            normalization (no activation function between), and without the last called, which gives the output. A
            module called k times in a pass gives k layers: name, name#2, ….
        activation: What is applied to what a module returns. "relu": max(h, 0), since F.relu is no module and hooks see
            the signed values before it; an activation that was rectified anyway stays. None: nothing, refused where
            activations are signed, which have no spikes to speak of. A callable: whatever the net applies.
        pooling: From activations (b, ...) to vectors (b, p); torch tensors.
        statistics: Which scores of `representation.Spikiness`.
        batch_size: Images at once.
        seed: Seed of the noise.

    Raises:
        ValueError: As `detection.stream_columns` and `capture`; activations are signed while `activation` is None.
    """
    apply = _activation(activation)
    if not callable(pooling):
        raise Refusal(f"pooling must be a callable; got {pooling!r}")
    if names is None:
        names = default_names(model, images, noise_std, predict)
    place = place_of(model)

    def reduce(h: torch.Tensor) -> Any:
        if h.ndim < 2:
            raise Refusal(f"names must be modules that return (batch, ...); got a tensor of shape {tuple(h.shape)}")
        version = h._version
        # max(h, 0) and the largest over positions may change places: one pass over the activation instead of three.
        swapped = apply is relu and pooling is detection.channels_max
        pooled = apply(pooling(h)) if swapped else pooling(apply(h))
        if h._version != version:
            raise Refusal("activation must not change the tensor it is given; got one that works in place")
        if isinstance(pooled, torch.Tensor) and pooled.untyped_storage().data_ptr() == h.untyped_storage().data_ptr():
            pooled = pooled.clone()  # a view, which an in-place ReLU behind the module would overwrite
        return _to_numpy(pooled)

    with ExitStack() as stack:
        stack.enter_context(unchanged(model))
        captured = stack.enter_context(hooks.reading(model, names, reduce))

        def forward(y: np.ndarray, level: float) -> tuple[Any, Mapping[str, Any]]:
            for calls in captured.values():
                calls.clear()
            denoised = denoise(model, predict, torch.from_numpy(y).to(**place), level)
            layers = {}
            for name, calls in captured.items():
                layers |= {name if index == 0 else f"{name}#{index + 1}": h for index, h in enumerate(calls)}
            return denoised.float().cpu().numpy(), layers

        return detection.stream_columns(
            forward, images, noise_std=noise_std, statistics=statistics, batch_size=batch_size, seed=seed
        )


def _to_numpy(pooled: Any) -> np.ndarray:
    """What a pooling returns, on the CPU; half precision as float32, since fourth powers leave its range."""
    if isinstance(pooled, torch.Tensor):
        pooled = pooled.detach().cpu()
        return (pooled.float() if pooled.dtype.itemsize < 4 else pooled).numpy()
    return np.asarray(representation.as_array("activations", pooled))


def _activation(activation: Any) -> Activation:
    if activation == "relu":
        return relu
    if activation is not None:
        if not callable(activation):
            raise Refusal(f"activation must be 'relu', a callable or None; got {activation!r}")
        return activation  # pyright: ignore[reportReturnType]

    def refuse_signed(h: torch.Tensor) -> torch.Tensor:
        if bool((h < 0).any()):
            raise Refusal(
                "activation must be 'relu' or a callable for modules that return negative values: a functional ReLU is "
                "no module, and spikiness is of what comes after it; got None"
            )
        return h

    return refuse_signed
