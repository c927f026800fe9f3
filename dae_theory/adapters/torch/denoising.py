"""A few images as the net sees and answers them: noised as they were scored, and denoised."""

# Where PyTorch is not installed, pyright takes this package for it.
# pyright: reportAttributeAccessIssue=false

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from dae_theory import checks
from dae_theory.adapters.torch.passes import Predict, denoise, place_of, unchanged
from dae_theory.checks import Refusal
from dae_theory.detection import streaming


def denoise_some(
    model: torch.nn.Module,
    images: Any,
    rows: Sequence[int],
    *,
    noise_std: float,
    level: int = 0,
    predict: Predict | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """y = x + σε and f(y) of some of the images, each (k, ...), with the very noise with which they are scored.

    Args:
        model, images, predict, seed: As `module_columns`.
        rows: Places of k images among `images`.
        noise_std: σ, one of those at which they are scored.
        level: Its place among them, which decides the noise.

    Raises:
        ValueError: As `module_columns`; `rows` is empty or holds no place of an image.

    >>> import numpy as np
    >>> import torch
    >>> from dae_theory.adapters.torch import denoise_some
    >>> images = np.zeros((5, 3), np.float32)
    >>> noised, denoised = denoise_some(torch.nn.Identity(), images, [4, 0], noise_std=0.1)
    >>> print(noised.shape, np.abs(noised - denoised).max())
    (2, 3) 0.0
    """
    places = [checks.integer("rows", row, 0) for row in rows]
    if not places or max(places) >= len(images):
        raise Refusal(f"rows must be one or more from 0 to {len(images) - 1}, the last of the images; got {places}")
    (deviation,) = streaming.levels_of(noise_std)
    batch = next(streaming.batches([images[row] for row in places], len(places)))[1]
    noised = np.concatenate(
        [streaming.noised(batch[k : k + 1], deviation, seed, level, row) for k, row in enumerate(places)]
    )
    with unchanged(model):  # one by one: a batch of another size may not fit where the scored one did
        answers = [denoise(model, predict, torch.from_numpy(y[None]).to(**place_of(model)), deviation) for y in noised]
    return noised, np.concatenate([answer.float().cpu().numpy() for answer in answers])
