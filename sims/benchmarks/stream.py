"""Words of the hashed generator on standard output, without end, for a battery of tests that reads them:

python -m sims.benchmarks.stream --order counter | dieharder -g 200 -a
python -m sims.benchmarks.stream --order key | RNG_test stdin32
"""

import sys
from collections.abc import Iterator
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from dae_theory.randomness import HASHED, derive

Order = Literal["counter", "key", "training"]
BLOCK = 2**20  # words at a time
KEYS = 4096  # of --order key, interleaved
NOISE = 64 * 32  # words of one step of one net, of --order training
MEMBERS = 16


def blocks(order: Order, seed: int = 0) -> Iterator[np.ndarray]:
    """Blocks of 2²⁰ uint32 words, as uint32.

    Args:
        order: "counter", h_k(0), h_k(1), … of one key and then of the next; "key", h_1(i), h_2(i), …, h_4096(i) of
            many keys at one counter and then at the next; "training", (64, 32) arrays of 16 nets side by side, step
            after step, as an ensemble draws its noise.
        seed: of all keys.
    """
    root = jax.random.key(seed, impl=HASHED)

    @jax.jit
    def block(number: jax.Array) -> jax.Array:
        if order == "counter":
            return jax.random.bits(derive(root, "counter", number), (BLOCK,), jnp.uint32)
        if order == "key":
            keys = jax.vmap(lambda key: derive(root, "key", number, key))(jnp.arange(KEYS))
            return jax.vmap(lambda key: jax.random.bits(key, (BLOCK // KEYS,), jnp.uint32))(keys).T.ravel()
        steps = number * (BLOCK // (MEMBERS * NOISE)) + jnp.arange(BLOCK // (MEMBERS * NOISE))
        members = jnp.arange(MEMBERS)

        def draw(step: jax.Array, member: jax.Array) -> jax.Array:
            return jax.random.bits(derive(root, "noise", member, step), (NOISE,), jnp.uint32)

        return jax.vmap(lambda step: jax.vmap(lambda member: draw(step, member))(members))(steps).ravel()

    number = 0
    while True:
        yield np.asarray(block(jnp.asarray(number, jnp.uint32)))
        number += 1


def main(order: Order = "counter", seed: int = 0) -> None:
    """Write words until nobody reads them."""
    out = sys.stdout.buffer
    try:
        for block in blocks(order, seed):
            out.write(block.tobytes())
    except BrokenPipeError:
        sys.stdout = None  # nothing is left to flush


if __name__ == "__main__":
    tyro.cli(main, prog="python -m sims.benchmarks.stream", description=__doc__)
