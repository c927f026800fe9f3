"""Scores of images in pretrained diffusion models of diffusers (extra `torch`): noise, denoise, read the activations.

Images are noised once, x_t = √ᾱ_t x + √(1−ᾱ_t) ε, and denoised in one step under the empty condition, so that no
prompt is needed. In the variables of this package that is y = x + σ ε with σ = √((1−ᾱ_t)/ᾱ_t).
"""

# Where PyTorch and diffusers are not installed, pyright takes this file and its neighbour for them.
# pyright: reportAttributeAccessIssue=false, reportPrivateImportUsage=false

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dae_theory import checks, detection, representation
from dae_theory.adapters import torch as hooks

try:
    import diffusers
    import torch
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "dae_theory.adapters.diffusers needs diffusers: pip install 'dae_theory[torch]'"
    ) from error


@dataclass(frozen=True)
class Recipe:
    """How one kind of model is called without a condition.

    Attributes:
        model: The network that predicts the noise (or v, or the sample).
        predict: From (x_t, t) to its prediction, the shape of x_t.
        encode: From images in [−1, 1], (b, c, h, w), to what the network denoises: itself, or latents of an
            autoencoder.
        modules: Every module that `predict` and `encode` call, to be put in evaluation mode.
        signal: ᾱ_t for every timestep, (T,).
        prediction_type: What is predicted: "epsilon", "v_prediction" or "sample".
        names: The blocks whose activations are read unless others are asked for.
        pooling: From a block's activations (b, ...) to vectors (b, p), unless another is asked for.
        channels: Channels of the images, 1 or 3.
        size: (height, width) of the images it was made for; None where the configuration does not say.
    """

    model: Any
    predict: Callable[[Any, int], Any]
    encode: Callable[[Any], Any]
    modules: tuple[Any, ...]
    signal: np.ndarray
    prediction_type: str
    names: tuple[str, ...]
    pooling: representation.Pooling
    channels: int
    size: tuple[int, int] | None


@dataclass(frozen=True)
class ImageScores:
    """Scores of n images in every block, and the controls.

    Attributes:
        scores: For each block the scores of its pooled activations, each (n,).
        pixel_std, input_norm: Controls on the images, (n,).
        denoising_loss: Minus ‖x̂ − x‖² of the denoised image or latent, (n,).
        noise_std: σ = √((1−ᾱ_t)/ᾱ_t) at which they were denoised.
        seconds: Time per image for everything together, compilation in the first batch included.
    """

    scores: dict[str, representation.Spikiness]
    pixel_std: np.ndarray
    input_norm: np.ndarray
    denoising_loss: np.ndarray
    noise_std: float
    seconds: float

    def columns(self) -> list[detection.Column]:
        """All of them, oriented so that larger means memorized, as `detection.evaluate` takes them."""
        result = [
            detection.Column(f"{name}/{field}", sign * np.asarray(getattr(scores, field)), seconds=self.seconds)
            for name, scores in self.scores.items()
            for field, sign in _ORIENTATION.items()
        ]
        for control in ("pixel_std", "input_norm", "denoising_loss"):
            result.append(detection.Column(control, getattr(self, control), control=True))
        return result


_ORIENTATION = {
    statistic.__name__: -1 if statistic is detection.participation_ratio else 1 for statistic in detection.STATISTICS
}


def _identity(x: Any) -> Any:
    return x


def _signal(scheduler: Any) -> np.ndarray:
    signal = getattr(scheduler, "alphas_cumprod", None)
    if signal is None:
        raise ValueError(f"pipeline must have a scheduler with alphas_cumprod; got {type(scheduler).__name__}")
    return np.asarray(signal, dtype=np.float64)


def _first_channels(output: Any, like: Any) -> Any:
    """The prediction without the learned variance, which some models append as further channels."""
    return output[0][:, : like.shape[1]]


def _encoder(vae: Any) -> Callable[[Any], Any]:
    return lambda x: vae.encode(x.to(vae.dtype)).latent_dist.mode() * vae.config.scaling_factor


def load(name: str) -> Any:
    """A pipeline from a folder in diffusers' format, or by its name on the hub."""
    return diffusers.DiffusionPipeline.from_pretrained(name)


def recipe(pipeline: Any) -> Recipe:
    """The recipe for a pipeline around `UNet2DModel`, `UNet2DConditionModel` or `DiTTransformer2DModel`.

    The empty condition is none, the embedding of the empty prompt, and the label behind the last class, respectively.

    Args:
        pipeline: A pipeline of diffusers, or any object with `scheduler` and `unet` or `transformer`; with `vae` for
            latent models, and `tokenizer` and `text_encoder` for text-conditioned ones.

    Raises:
        ValueError: `pipeline` holds none of the three, lacks a part of its kind, or its scheduler has no ᾱ_t.
    """
    model: Any = getattr(pipeline, "transformer", None) or getattr(pipeline, "unet", None)
    known = (diffusers.UNet2DModel, diffusers.UNet2DConditionModel, diffusers.DiTTransformer2DModel)
    if not isinstance(model, known):
        raise ValueError(
            f"pipeline must hold one of {', '.join(kind.__name__ for kind in known)} as unet or transformer; "
            f"got {type(model).__name__}"
        )
    vae, scheduler = getattr(pipeline, "vae", None), getattr(pipeline, "scheduler", None)
    common: dict[str, Any] = {
        "model": model,
        "encode": _identity if vae is None else _encoder(vae),
        "modules": (model,) if vae is None else (model, vae),
        "signal": _signal(scheduler),
        "prediction_type": getattr(getattr(scheduler, "config", None), "prediction_type", "epsilon"),
        "channels": (model if vae is None else vae).config.in_channels,
        "size": _image_size(model, vae),
    }
    if isinstance(model, diffusers.DiTTransformer2DModel):
        names = tuple(f"transformer_blocks.{index}" for index in range(len(model.transformer_blocks)))
        empty = model.config.num_embeds_ada_norm

        def predict(x: Any, t: int) -> Any:
            count = (x.shape[0],)
            times, labels = (torch.full(count, value, device=x.device, dtype=torch.long) for value in (t, empty))
            return _first_channels(model(x, timestep=times, class_labels=labels, return_dict=False), x)

        return Recipe(**common, predict=predict, names=names, pooling=representation.spatial_max)

    pooling = partial(representation.spatial_max, channel_axis=1)
    if isinstance(model, diffusers.UNet2DConditionModel):
        embedding = _empty_prompt(pipeline)

        def predict(x: Any, t: int) -> Any:
            condition = embedding.to(device=x.device, dtype=x.dtype).expand(x.shape[0], -1, -1)
            return _first_channels(model(x, t, condition, return_dict=False), x)

        return Recipe(**common, predict=predict, names=_unet_blocks(model), pooling=pooling)

    def predict(x: Any, t: int) -> Any:
        return _first_channels(model(x, t, return_dict=False), x)

    return Recipe(**common, predict=predict, names=_unet_blocks(model), pooling=pooling)


def _image_size(model: Any, vae: Any) -> tuple[int, int] | None:
    """What the network is made for, times what the autoencoder halves at every block but the last."""
    size = getattr(model.config, "sample_size", None)
    if size is None:
        return None
    factor = 1 if vae is None else 2 ** (len(vae.config.block_out_channels) - 1)
    height, width = (size, size) if isinstance(size, int) else size
    return factor * height, factor * width


def _unet_blocks(model: Any) -> tuple[str, ...]:
    names = [
        f"{side}.{index}" for side in ("down_blocks", "up_blocks") for index in range(len(getattr(model, side, ())))
    ]
    middle = ["mid_block"] if getattr(model, "mid_block", None) is not None else []
    down = [name for name in names if name.startswith("down")]
    return (*down, *middle, *names[len(down) :])


def _empty_prompt(pipeline: Any) -> Any:
    tokenizer, encoder = getattr(pipeline, "tokenizer", None), getattr(pipeline, "text_encoder", None)
    if tokenizer is None or encoder is None:
        raise ValueError("pipeline must have a tokenizer and a text_encoder for its UNet2DConditionModel; got none")
    tokens = tokenizer(
        "", padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    with hooks.evaluating(encoder):
        return encoder(tokens.input_ids.to(encoder.device))[0]


def _denoised(prediction: Any, noised: Any, signal: float, kind: str) -> Any:
    """x̂ from what the network predicts: ε, v = √ᾱ ε − √(1−ᾱ) x, or x itself."""
    root, noise = signal**0.5, (1 - signal) ** 0.5
    if kind == "epsilon":
        return (noised - noise * prediction) / root
    if kind == "v_prediction":
        return root * noised - noise * prediction
    if kind == "sample":
        return prediction
    raise ValueError(f"pipeline must predict epsilon, v_prediction or sample; got {kind!r}")


def _batches(images: Any, size: int) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(images), size):
        yield start, np.stack([np.asarray(image, dtype=np.float32) for image in images[start : start + size]])


def score_images(
    pipeline: Any,
    images: Any,
    *,
    timestep: int,
    names: Sequence[str] | None = None,
    pooling: representation.Pooling | None = None,
    batch_size: int = 16,
    seed: int = 0,
) -> ImageScores:
    """Score images by the activations they cause in a pretrained diffusion model. No prompt is needed.

    Noise belongs to the seed and the image's place in the list: changing the batch size changes no draw. Activations
    are pooled and scored as they appear, so one block's activations of one batch are held at a time. The pipeline is
    left bit-identical, torch's random state untouched.

    Args:
        pipeline: As `recipe`.
        images: n images in [−1, 1], each (channels, height, width), of the size the model takes.
        timestep: t of the forward noise.
        names: Modules to read; every block of the network when None.
        pooling: From activations (b, ...) to (b, p); maxima over positions for each channel when None.
        batch_size: Images at once.
        seed: Seed of the noise.

    Raises:
        ValueError: `images` is empty, not of three axes or outside [−1, 1]; `timestep` is not one of the scheduler's;
            `names` holds an unknown module; `batch_size` is not a positive integer; as `recipe`.
    """
    batch_size = checks.integer("batch_size", batch_size, 1)
    seed = checks.integer("seed", seed, 0)
    if len(images) == 0:
        raise ValueError("images must hold at least one image; got none")
    plan = recipe(pipeline)
    timestep = checks.integer("timestep", timestep, 0)
    if timestep >= len(plan.signal):
        raise ValueError(f"timestep must be below the scheduler's {len(plan.signal)}; got {timestep}")
    names = list(plan.names) if names is None else list(names)
    pool = plan.pooling if pooling is None else pooling
    signal = float(plan.signal[timestep])
    parameter = next(plan.model.parameters())

    def score(activation: Any) -> representation.Spikiness:
        return representation.spikiness(pool(representation.as_array("activation", activation)))

    parts: dict[str, list[representation.Spikiness]] = {name: [] for name in names}
    controls: list[tuple[np.ndarray, ...]] = []
    began = time.perf_counter()
    with ExitStack() as stack:
        for module in plan.modules:
            stack.enter_context(hooks.evaluating(module))
        captured = stack.enter_context(hooks.capture(plan.model, names, score))
        for start, batch in _batches(images, batch_size):
            _check_images(batch)
            x = plan.encode(torch.from_numpy(batch).to(parameter.device)).to(parameter.dtype)
            noise = np.stack(
                [
                    np.random.default_rng([seed, start + index]).standard_normal(x.shape[1:], dtype=np.float32)
                    for index in range(len(batch))
                ]
            )
            noised = signal**0.5 * x + (1 - signal) ** 0.5 * torch.from_numpy(noise).to(x)
            denoised = _denoised(plan.predict(noised, timestep), noised, signal, plan.prediction_type)
            loss = detection.denoising_loss(x, denoised)
            controls.append((detection.pixel_std(batch), detection.input_norm(batch), loss))
            for name in names:
                # A module that is called several times in one pass (shared blocks) is scored at its last call.
                parts[name].append(captured[name][-1])
                captured[name].clear()
    pixel, norm, loss = (np.concatenate(column) for column in zip(*controls, strict=True))
    return ImageScores(
        scores={name: jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts[name]) for name in names},
        pixel_std=pixel,
        input_norm=norm,
        denoising_loss=loss,
        noise_std=float(np.sqrt((1 - signal) / signal)),
        seconds=(time.perf_counter() - began) / len(images),
    )


def _check_images(batch: np.ndarray) -> None:
    if batch.ndim != 4:
        raise ValueError(f"images must each have shape (channels, height, width); got {batch.shape[1:]}")
    checks.finite("images", batch)
    if np.abs(batch).max() > 1 + 1e-6:
        raise ValueError(f"images must lie in [−1, 1]; got values from {batch.min():.3g} to {batch.max():.3g}")
