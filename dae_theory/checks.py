"""Refusals: every bad argument gets a `ValueError` that names it, says what was given and what is allowed.

Shapes are known at trace time and always checked. Values are checked only when they are concrete: inside `jit`, `vmap`
or `grad` an array has no value yet, and the caller who jits has to check at the boundary.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer


class Refusal(ValueError):
    """An argument that cannot be: the message names it, what was given and what is allowed.

    A `ValueError` like any other to a caller. It has a type of its own so that a program can tell what a user may mend
    from a defect of the program itself.
    """


def is_traced(value: Any) -> bool:
    """Whether the value is abstract (inside jit, vmap or grad), so that it cannot be looked at."""
    return isinstance(value, Tracer)


def array(name: str, value: Any, ndim: int) -> Array:
    """A floating array with `ndim` axes, none of length zero and without NaN or infinity; integers become floats."""
    try:
        result = jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise Refusal(f"{name} must be a numeric array with {ndim} axes; got {type(value).__name__}") from error
    if not jnp.issubdtype(result.dtype, jnp.floating):
        if jnp.issubdtype(result.dtype, jnp.complexfloating):
            raise Refusal(f"{name} must be real; got dtype {result.dtype}")
        result = result.astype(jnp.result_type(float))
    if result.ndim != ndim:
        raise Refusal(f"{name} must have {ndim} axes; got shape {result.shape}")
    if 0 in result.shape:
        raise Refusal(f"{name} must not be empty; got shape {result.shape}")
    finite(name, result)
    return result


def finite(name: str, value: Any) -> None:
    """Refuse NaN and infinity, and what is no real number."""
    if is_traced(value):
        return
    entries = np.asarray(value)
    if entries.dtype == object or entries.dtype.kind in "USMmc":
        raise Refusal(f"{name} must be real numbers; got {value!r}")
    bad = np.count_nonzero(~np.isfinite(entries))
    if bad:
        raise Refusal(f"{name} must be finite; got {bad} entries that are NaN or infinite")


def samples(name: str, value: Any) -> Array:
    """Samples as rows: a finite floating array of shape (n, d), n ≥ 1."""
    return array(name, value, ndim=2)


def shape(name: str, value: Any, expected: tuple[int, ...]) -> None:
    """Refuse an array of another shape."""
    if np.shape(value) != expected:
        raise Refusal(f"{name} must have shape {expected}; got {np.shape(value)}")


def non_negative(name: str, value: Any) -> None:
    """Refuse a number (or any entry of an array) that is negative, NaN or infinite."""
    finite(name, value)
    if not is_traced(value) and np.any(np.asarray(value) < 0):
        raise Refusal(f"{name} must be ≥ 0; got {value}")


def positive(name: str, value: Any) -> None:
    """Refuse a number (or any entry of an array) that is not above zero, NaN or infinite."""
    finite(name, value)
    if not is_traced(value) and np.any(np.asarray(value) <= 0):
        raise Refusal(f"{name} must be > 0; got {value}")


def proportions(value: Any, components: int) -> Array:
    """Refuse anything but proportions: one for every component, positive, summing to 1 within 1e-6."""
    result = array("proportions", value, 1)
    shape("proportions", result, (components,))
    positive("proportions", result)
    if not is_traced(result):
        total = float(np.sum(np.asarray(result, dtype=np.float64)))
        if abs(total - 1) > 1e-6:
            raise Refusal(f"proportions must sum to 1 within 1e-6; got {total}")
    return result


def integer(name: str, value: Any, minimum: int) -> int:
    """An integer of at least `minimum`; booleans and fractions are refused."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise Refusal(f"{name} must be an integer ≥ {minimum}; got {value!r}")
    if value < minimum:
        raise Refusal(f"{name} must be an integer ≥ {minimum}; got {value}")
    return int(value)


def count(name: str, value: Any, least: int, most: int, what: str) -> None:
    """Refuse anything but one integer from `least` to `most`; under tracing its shape alone is known."""
    shape(name, value, ())
    if is_traced(value):
        return
    entries = np.asarray(value)
    if entries.dtype.kind not in "iu" or not least <= int(entries) <= most:
        raise Refusal(f"{name} must be an integer from {least} to {most}, {what}; got {value}")


def typed_key(name: str, key: Any) -> None:
    """Refuse anything but one typed key from `jax.random.key`."""
    dtype = getattr(key, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jax.dtypes.prng_key):
        raise Refusal(f"{name} must be a typed key from jax.random.key(seed); got {key!r}")
    if key.shape != ():
        raise Refusal(f"{name} must be a single key; got an array of keys of shape {key.shape}")
