"""Keys by identity: a draw belongs to (seed, purpose, indices), never to the order, chunk or device it is made in.

Every random array of the package is drawn row-major from a key of its own, and JAX's partitionable threefry fills it
by counter. Its first rows are therefore the same whatever number of rows is asked for: padding changes no draw.
"""

import zlib

import jax
from jaxtyping import Array, Integer, Key

from dae_theory import checks


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
