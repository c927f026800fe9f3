"""Scores of images in pretrained diffusion models of diffusers (extra `torch`): noise, denoise, read the activations.

Images are noised once, x_t = √ᾱ_t x + √(1−ᾱ_t) ε, and denoised in one step under the empty condition, so that no
prompt is needed. In the variables of this package that is y = x + σ ε with σ = √((1−ᾱ_t)/ᾱ_t).
"""

# Where PyTorch and diffusers are not installed, pyright takes these packages for them.
# pyright: reportAttributeAccessIssue=false, reportPrivateImportUsage=false

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dae_theory import checks, detection, representation
from dae_theory.adapters import torch as hooks
from dae_theory.adapters.diffusers.recipes import recipe
from dae_theory.checks import Refusal

try:
    import torch
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "dae_theory.adapters.diffusers needs diffusers: pip install 'dae_theory[torch]'"
    ) from error


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
            for field, sign in representation.ORIENTATION.items()
        ]
        for control in ("pixel_std", "input_norm", "denoising_loss"):
            result.append(detection.Column(control, getattr(self, control), control=True))
        return result


def denoised_image(prediction: Any, noised: Any, signal: float, kind: str) -> Any:
    """x̂ from what the network predicts: ε, v = √ᾱ ε − √(1−ᾱ) x, or x itself."""
    root, noise = signal**0.5, (1 - signal) ** 0.5
    if kind == "epsilon":
        return (noised - noise * prediction) / root
    if kind == "v_prediction":
        return root * noised - noise * prediction
    if kind == "sample":
        return prediction
    raise Refusal(f"pipeline must predict epsilon, v_prediction or sample; got {kind!r}")


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
        raise Refusal("images must hold at least one image; got none")
    plan = recipe(pipeline)
    timestep = checks.integer("timestep", timestep, 0)
    if timestep >= len(plan.signal):
        raise Refusal(f"timestep must be below the scheduler's {len(plan.signal)}; got {timestep}")
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
            denoised = denoised_image(plan.predict(noised, timestep), noised, signal, plan.prediction_type)
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
        raise Refusal(f"images must each have shape (channels, height, width); got {batch.shape[1:]}")
    checks.finite("images", batch)
    if np.abs(batch).max() > 1 + 1e-6:
        raise Refusal(f"images must lie in [−1, 1]; got values from {batch.min():.3g} to {batch.max():.3g}")
