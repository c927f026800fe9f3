"""The published noise-conditional net on vectors, for the sims that sample from one net instead of a set."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from dae_theory import diffusion
from dae_theory.randomness import derive
from sims.launch import limits


@dataclass(frozen=True)
class ConditionalConfig:
    """One net for all noise levels."""

    conditional_width: int = 128
    """Neurons of the noise-conditional net (published: 256)."""
    conditional_steps: int = 4000
    """Its optimizer steps."""
    conditional_learning_rate: float = 3e-3
    """Its learning rate."""

    def check(self) -> None:
        """Raises ValueError for numbers with which nothing can be trained."""
        limits.at_least(self, conditional_width=1, conditional_steps=1)
        limits.above_zero(self, "conditional_learning_rate")

    def train(self, key: Array, x: Array, **settings: Any) -> diffusion.Network:
        """The net trained on samples (n, d), one program for all its steps; `settings` as in `diffusion.Settings`."""
        network = diffusion.relu_network(derive(key, "network"), x.shape[1], width=self.conditional_width)
        training = diffusion.Settings(
            steps=self.conditional_steps,
            chunk=self.conditional_steps,
            learning_rate=self.conditional_learning_rate,
            **settings,
        )
        return diffusion.train(derive(key, "training"), network, x.astype(jnp.float32), training).network
