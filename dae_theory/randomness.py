"""Keys by identity: a draw belongs to (seed, purpose, indices), never to the order, chunk or device it is made in.

Every random array of the package is drawn row-major from a key of its own, and JAX's partitionable threefry fills it
by counter. Its first rows are therefore the same whatever number of rows is asked for: padding changes no draw.

`HASHED` is a second implementation of typed keys, for bulk noise. Its keys are made, split and folded by threefry; only
the bits of an array are cheaper, a hash of (key, counter) in a dozen integer operations a word instead of a hundred.
"""

import math
import zlib
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.random import define_prng_impl
from jaxtyping import Array, Integer, Key, UInt32

from dae_theory import checks
from dae_theory.checks import Refusal

_THREEFRY = "threefry2x32"


def derive(root: Key[Array, ""], purpose: str, *indices: int | Integer[Array, ""]) -> Key[Array, ""]:
    """The key of one purpose ("noise", "init", ...) and one identity (member, step, ...) under a root key.

    Args:
        root: a typed key.
        purpose: a word; two purposes never share draws (up to a collision of their 32-bit checksums).
        indices: whole numbers ≥ 0, traced or not.

    >>> import jax
    >>> from dae_theory import randomness
    >>> root = jax.random.key(0)
    >>> first, again = (randomness.derive(root, "noise", 7) for _ in range(2))
    >>> print(first == again, first == randomness.derive(root, "batch", 7))
    True False
    """
    checks.typed_key("root", root)
    key = jax.random.fold_in(root, zlib.crc32(purpose.encode()))
    for index in indices:
        key = jax.random.fold_in(key, index)
    return key


def hashed(key: Key[Array, ""]) -> Key[Array, ""]:
    """The key with the same data whose arrays are filled by `HASHED`."""
    checks.typed_key("key", key)
    return jax.random.wrap_key_data(jax.random.key_data(key), impl=HASHED)


def is_hashed(key: Key[Array, ""]) -> bool:
    """Whether the key's arrays are filled by `HASHED`."""
    return jax.random.key_impl(key) == HASHED


def _words(key: UInt32[Array, " 2"], counter: UInt32[Array, "*shape"]) -> UInt32[Array, "*shape"]:
    """h(i) for key (k₀, k₁) and counter i, everything modulo 2³²:

        a = c₀ i + k₀,   b = c₁ (a ⊕ a≫16) + k₁,   c = c₂ (b ⊕ b≫15),   d = c₃ (c ⊕ c≫16),   h = d ⊕ d≫15

    For one key h permutes the 2³² counters. The second half of the key enters between the multiplications, so that
    the sequences of two keys are shifts of each other only where their second halves agree: of keys made by threefry,
    one pair in 2³².
    """
    word = counter * jnp.uint32(0x9E3779B9) + key[0]
    word = (word ^ (word >> 16)) * jnp.uint32(0x21F0AAAD) + key[1]
    word = (word ^ (word >> 15)) * jnp.uint32(0x735A2D97)
    word = (word ^ (word >> 16)) * jnp.uint32(0x846CA68B)
    return word ^ (word >> 15)


def _bits(key: Array, bit_width: int, shape: tuple[int, ...]) -> Array:
    """Unsigned integers of 8, 16, 32 or 64 bits, row-major by counter."""
    per = 2 if bit_width == 64 else 1
    size = math.prod(shape)
    if per * size > 2**32:
        raise Refusal(f"shape must hold at most 2^32 words under one key of this kind; got {shape}")
    counter = jax.lax.iota(jnp.uint32, size).reshape(shape)
    if bit_width == 64:
        high, low = (_words(key, 2 * counter + jnp.uint32(half)).astype(jnp.uint64) for half in (0, 1))
        return (high << jnp.uint64(32)) | low
    word = _words(key, counter)
    return word if bit_width == 32 else (word >> jnp.uint32(32 - bit_width)).astype(f"uint{bit_width}")


def _threefry(key: Array) -> Array:
    return jax.random.wrap_key_data(key, impl=_THREEFRY)


def _seed(seed: Array) -> Array:
    return jax.random.key_data(jax.random.key(seed, impl=_THREEFRY))


def _split(key: Array, shape: tuple[int, ...]) -> Array:
    return jax.random.key_data(jax.random.split(_threefry(key), shape))


def _fold_in(key: Array, data: Any) -> Array:
    return jax.random.key_data(jax.random.fold_in(_threefry(key), data))


HASHED = define_prng_impl(
    key_shape=(2,), seed=_seed, split=_split, random_bits=_bits, fold_in=_fold_in, name="hashed", tag="hash"
)
