"""A small convolutional denoiser without biases: two resolutions, a connection across, blind to the noise level.

    f(c y) = c f(y) for c > 0,

as every net of convolutions and ReLUs without biases (Mohan et al., ICLR 2020), which is why it needs no noise level.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from dae_theory import diffusion
from dae_theory.checks import Refusal
from dae_theory.randomness import derive
from sims import launch
from sims.launch import limits
from sims.nets.images import ImageSet

LAYERS = ("first", "second", "down", "bottom", "up", "last")
"""Hidden layers in the order of the pass; their activations are (n, h, w, channels), after the ReLU."""


def convolutional_network(key: Array, shape: tuple[int, ...], *, channels: int) -> diffusion.Network:
    """The net with random weights.

    Args:
        key: of the weights.
        shape: of one image, (h, w) with even sides.
        channels: of the fine resolution; the coarse one has twice as many.

    Raises:
        ValueError: naming --size: sides are odd, or images have colours.
    """
    if len(shape) != 2 or any(side % 2 for side in shape):
        raise Refusal(f"--size must be even, of images without colours; got images of shape {shape}")
    net = _Net(shape, channels, rngs=nnx.Rngs(derive(key, "convolutional")))
    structure, parameters = nnx.split(net)
    return diffusion.Network(parameters, structure, math.prod(shape))


def _windows(h: Array, stride: int) -> Array:
    """The 3 × 3 entries around every (or every second) position, (n, h, w, c) → (n, h/stride, w/stride, 9 c)."""
    high, wide = h.shape[1:3]
    padded = jnp.pad(h, ((0, 0), (1, 1), (1, 1), (0, 0)))
    parts = [
        padded[:, row : row + high : stride, column : column + wide : stride] for row in range(3) for column in range(3)
    ]
    return jnp.concatenate(parts, axis=-1)


class _Net(nnx.Module):
    """Convolutions are matrix products of windows: XLA's own are slow inside a loop of training steps on a CPU."""

    def __init__(self, shape: tuple[int, ...], channels: int, *, rngs: nnx.Rngs):
        self.shape = shape

        def convolution(inputs: int, outputs: int) -> nnx.Linear:
            start: Any = nnx.initializers.he_normal()
            return nnx.Linear(9 * inputs, outputs, use_bias=False, kernel_init=start, rngs=rngs)

        self.first, self.second = convolution(1, channels), convolution(channels, channels)
        self.down, self.bottom = convolution(channels, 2 * channels), convolution(2 * channels, 2 * channels)
        self.up, self.last = convolution(3 * channels, channels), convolution(channels, channels)
        self.out = convolution(channels, 1)

    def __call__(self, y: Array, noise_std: Array, edits: Any = None) -> tuple[Array, dict[str, Array]]:
        del noise_std, edits  # blind, and no layer is called hidden, so none can be edited
        h, kept = y.reshape(-1, *self.shape, 1), {}
        for name in LAYERS:
            if name == "up":
                wide = jnp.repeat(jnp.repeat(h, 2, axis=1), 2, axis=2)
                h = jnp.concatenate([wide, kept["second"]], axis=-1)
            h = jax.nn.relu(getattr(self, name)(_windows(h, 2 if name == "down" else 1)))
            kept[name] = h
        return self.out(_windows(h, 1)).reshape(y.shape), kept


@dataclass(frozen=True)
class ConvolutionalConfig:
    """A convolutional denoiser, trained on many images and then on a few of them many times."""

    channels: int = 16
    """Channels of the fine resolution; twice as many at the coarse one."""
    many_steps: int = 500
    """Optimizer steps on images seen once: the net that generalizes."""
    overfitting_steps: int = 3000
    """Optimizer steps with the duplicated images among them."""
    conv_batch_size: int = 32
    """Noisy images a step."""
    conv_learning_rate: float = 4e-3
    """Highest learning rate of either schedule."""
    lowest: float = 0.1
    """σ in training is log-uniform from here."""
    highest: float = 1.0
    """To here."""

    def check(self) -> None:
        """Raises ValueError for numbers with which nothing can be trained."""
        limits.at_least(self, channels=1, many_steps=1, overfitting_steps=1, conv_batch_size=1)
        limits.above_zero(self, "conv_learning_rate", "lowest")
        if not self.lowest < self.highest:
            raise Refusal(f"--highest must be above --lowest = {self.lowest:g}; got {self.highest:g}")

    @property
    def steps(self) -> int:
        """All optimizer steps."""
        return self.many_steps + self.overfitting_steps

    def train(
        self, key: Array, images: ImageSet, run: launch.Run
    ) -> tuple[diffusion.Network, diffusion.Network, diffusion.Network]:
        """The net untrained, after training on the images seen once, and after training on all with their copies.

        Raises:
            ValueError: it diverged; naming --conv-learning-rate.
        """
        nets = [convolutional_network(key, images.shape, channels=self.channels)]
        parts = {"many": images.x[np.flatnonzero(images.copies == 1)], "duplicated": images.stack}
        for (name, x), steps in zip(parts.items(), (self.many_steps, self.overfitting_steps), strict=True):
            settings = diffusion.Settings(
                steps=steps,
                batch_size=self.conv_batch_size,
                learning_rate=self.conv_learning_rate,
                lowest=self.lowest,
                highest=self.highest,
                average=0.95,
                chunk=min(steps, 200),
            )
            trained = diffusion.train(derive(key, name), nets[-1], x, settings)
            if not trained.finite:
                raise Refusal(
                    f"--conv-learning-rate {self.conv_learning_rate:g} let the net diverge; give a smaller one"
                )
            nets.append(trained.network)
            run.advance()
        return nets[0], nets[1], nets[2]
