"""Noise-conditional nets on images of which a few stand in the training set many times, more once, and some never."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dae_theory import data, diffusion
from dae_theory.checks import Refusal
from dae_theory.randomness import derive
from sims import launch
from sims.launch import limits

HEADS = 4  # of attention in the deep net


@dataclass(frozen=True)
class ImageSet:
    """Images, the duplicated ones first, then those seen once, then fresh ones.

    Attributes:
        x: centred pixels, float32, (m, d).
        copies: how often each stands in the training set, (m,).
        shape: of one image.
        mean: the mean image that was subtracted, (d,).
    """

    x: Array
    copies: np.ndarray
    shape: tuple[int, ...]
    mean: np.ndarray

    @property
    def stack(self) -> Array:
        """The training set with its copies, (n, d)."""
        return jnp.repeat(self.x, self.copies, axis=0)

    @property
    def distinct(self) -> Array:
        """The distinct training images."""
        return self.x[np.flatnonzero(self.copies)]

    @property
    def scale(self) -> float:
        """Root mean square of the pixels of the training set."""
        return float(jnp.sqrt(jnp.mean(self.stack**2)))

    def some(self, others: int) -> np.ndarray:
        """Rows of the duplicated images, and of at most `others` of those seen once and of the fresh ones each."""
        once, fresh = (np.flatnonzero(self.copies == count)[:others] for count in (1, 0))
        return np.concatenate([np.flatnonzero(self.copies > 1), once, fresh])


def image_set(
    key: Array,
    images: data.Images,
    *,
    duplicates: int,
    copies: int,
    once: int,
    fresh: int,
    fresh_first: bool = False,
) -> ImageSet:
    """Centred images in an order of their own; with `fresh_first`, sets of other sizes have the same fresh images.

    Raises:
        ValueError: there are not as many.
    """
    counts = [duplicates, once, fresh]
    if sum(counts) > len(images.x):
        raise Refusal(f"--images must hold {sum(counts)} images, duplicated, seen once and fresh; got {len(images.x)}")
    order = np.asarray(jax.random.permutation(derive(key, "order"), len(images.x)))
    order = np.roll(order[: sum(counts)], -fresh if fresh_first else 0)
    mean = np.asarray(images.mean, np.float32)
    return ImageSet(jnp.asarray(images.x, jnp.float32)[order], np.repeat([copies, 1, 0], counts), images.shape, mean)


def check_deep(config: Any, *, size: int, width: str) -> None:
    """Refuse sizes that `deep_net` cannot have: the option `width` names its channels, patch and depth their own.

    Raises:
        ValueError: naming the option.
    """
    limits.at_least(config, **{width: 1, "depth": 1, "patch": 1})
    channels = launch.flat(config)[width]
    if size % config.patch:
        raise Refusal(f"--patch must divide --size = {size}; got {config.patch}")
    if channels % (2 * HEADS):
        raise Refusal(f"{limits.option(width)} must be a multiple of {2 * HEADS}; got {channels}")


def relu_net(key: Array, images: ImageSet, run: launch.Run, *, width: int, steps: int, batch_size: int) -> Any:
    """The published noise-conditional ReLU net, trained."""
    network = diffusion.relu_network(key, images.x.shape[1], width=width)
    settings = diffusion.Settings(steps=steps, batch_size=batch_size, learning_rate=2e-3, chunk=500)
    return _trained(key, "conditional", network, images, settings, run)


def deep_net(
    key: Array,
    images: ImageSet,
    run: launch.Run,
    *,
    patch: int,
    width: int,
    depth: int,
    steps: int,
    batch_size: int,
    part: str = "deep",
    scale: float | None = None,
) -> Any:
    """The small diffusion transformer, trained; nets of one `scale` share a program."""
    scale = images.scale if scale is None else scale
    network = diffusion.deep_network(
        key, images.shape, patch=patch, width=width, depth=depth, heads=HEADS, data_scale=scale
    )
    settings = diffusion.Settings(
        steps=steps,
        batch_size=batch_size,
        learning_rate=4e-3,
        data_scale=scale,
        lowest=0.05,
        average=0.99,
        chunk=500,
    )
    return _trained(key, part, network, images, settings, run)


def _trained(key: Array, part: str, network: Any, images: ImageSet, settings: Any, run: launch.Run) -> Any:
    """With checkpoints in the record's folder where orbax is installed."""
    try:
        store = diffusion.Checkpoints(run.record.folder / "chunks" / part)
    except ImportError:
        store = None
    trained = diffusion.train(derive(key, "train"), network, images.stack, settings, store=store)
    if store is not None:
        store.close()
    if not trained.finite:
        raise Refusal(f"the {part} net diverged")
    run.advance(1)
    return trained.network
