"""How pretrained models of diffusers are called without a condition: one recipe for each kind of network."""

# Where PyTorch and diffusers are not installed, pyright takes these packages for them.
# pyright: reportAttributeAccessIssue=false, reportPrivateImportUsage=false

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from dae_theory import representation
from dae_theory.adapters import torch as hooks
from dae_theory.checks import Refusal

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


def _identity(x: Any) -> Any:
    return x


def _signal(scheduler: Any) -> np.ndarray:
    signal = getattr(scheduler, "alphas_cumprod", None)
    if signal is None:
        raise Refusal(f"pipeline must have a scheduler with alphas_cumprod; got {type(scheduler).__name__}")
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
        raise Refusal(
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
        raise Refusal("pipeline must have a tokenizer and a text_encoder for its UNet2DConditionModel; got none")
    tokens = tokenizer(
        "", padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    with hooks.evaluating(encoder):
        return encoder(tokens.input_ids.to(encoder.device))[0]
