"""A small diffusion transformer on samples that are no images: a row of patches of four numbers each."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from dae_theory import diffusion
from dae_theory.checks import Refusal
from dae_theory.randomness import derive
from sims import launch

PATCH, HEADS = 2, 4
SCALE = 1.0  # of the data, for all sets, so that their nets share a program; near that of theirs


def check(dimension: int, width: int) -> None:
    """Raises ValueError for sizes that the net cannot have."""
    if dimension % PATCH**2:
        raise Refusal(f"--dimension must be a multiple of {PATCH**2}; got {dimension}")
    if width % (2 * HEADS):
        raise Refusal(f"--deep-width must be a multiple of {2 * HEADS}; got {width}")


def deep_net(key: Array, x: Any, run: launch.Run, config: Any) -> diffusion.Network:
    """Trained on samples (n, d) at all noise levels between two; its inputs have shape (m, d) like those of other nets.

    Args:
        key: of its initial weights and training.
        x: samples.
        run: the launched run.
        config: lowest, highest, deep_width, deep_depth and deep_steps, as `sims.steering` has them.

    Raises:
        ValueError: it diverged.
    """
    rows = jnp.asarray(x, jnp.float32)
    shape = (PATCH, rows.shape[1] // PATCH)
    network = diffusion.deep_network(
        key, shape, patch=PATCH, width=config.deep_width, depth=config.deep_depth, heads=HEADS, data_scale=SCALE
    )
    settings = diffusion.Settings(
        lowest=config.lowest,
        highest=config.highest,
        learning_rate=4e-3,
        data_scale=SCALE,
        steps=config.deep_steps,
        average=0.99,
        chunk=500,
    )
    trained = diffusion.train(derive(key, "train"), network, rows, settings)
    if not trained.finite:
        raise Refusal("the deep net diverged: --deep-width must be smaller")
    run.advance(1)
    return trained.network
