"""Theory beside ensemble: predicted number, mean ± SEM over members, z, and a verdict that says when it cannot tell."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from dae_theory import checks
from dae_theory.checks import Refusal

STANDARD_ERRORS = 5.0  # up to which a deviation is taken for chance, everywhere


@struct.dataclass
class Comparison:
    """A prediction beside measurements over an ensemble, for every cell of a grid.

    Members that are NaN or infinite are failed runs. They are counted in `missing` and the mean is over the others,
    which is biased towards runs that went well: such a cell never agrees.

    Attributes:
        predicted: Theory, (...).
        mean: Mean over finite members, (...); NaN without any.
        sem: Standard error of the mean, std (ddof = 1)/√count, (...); NaN below two members.
        z: (mean − predicted)/sem, (...); ±∞ where members agree exactly with one another but not with theory.
        deviation: (mean − predicted)/scale, (...), relative to |predicted| unless a scale was given.
        count: Number of finite members, (...).
        missing: Number of others, (...).
        agrees: |z| ≤ threshold or |deviation| ≤ tolerance, nothing missing and the cell able to tell, (...).
        differs: |z| > threshold and |deviation| > tolerance, (...).
    """

    predicted: Float[Array, "*cells"]
    mean: Float[Array, "*cells"]
    sem: Float[Array, "*cells"]
    z: Float[Array, "*cells"]
    deviation: Float[Array, "*cells"]
    count: Int[Array, "*cells"]
    missing: Int[Array, "*cells"]
    agrees: Bool[Array, "*cells"]
    differs: Bool[Array, "*cells"]

    @property
    def verdict(self) -> np.ndarray:
        """'agrees', 'differs' or 'undecided' for every cell, as an array of strings."""
        return np.where(self.agrees, "agrees", np.where(self.differs, "differs", "undecided"))


def compare(
    predicted: Any,
    measured: Any,
    *,
    threshold: float = STANDARD_ERRORS,
    tolerance: float = 0.0,
    scale: Any = None,
) -> Comparison:
    """Compare a prediction with the members of an ensemble, cell by cell.

    *differs*: |z| > threshold and |deviation| > tolerance. *agrees*: otherwise, if no member is missing, and either
    |deviation| ≤ tolerance, or the interval mean ± threshold·SEM is narrower than the quantity itself (threshold·SEM ≤
    scale; a wider one would agree with zero as well). *undecided*: the rest, among it fewer than two members without a
    tolerance that settles it. Where the scale is 0 there is no relative deviation (NaN), and z alone decides.

    Works under jit and vmap, apart from the property `verdict`.

    Args:
        predicted: Theory, (...), broadcast against the cells.
        measured: Members on axis 0, (members, ...).
        threshold: Largest |z| taken for agreement.
        tolerance: Largest relative deviation taken for agreement whatever z is; 0 for none.
        scale: Size of the quantity, for relative deviations; |predicted| when None.

    Raises:
        ValueError: `predicted` is not finite or does not broadcast to the cells, `measured` has no members, `threshold`
            is not positive, or `tolerance` or `scale` is negative.
    """
    checks.positive("threshold", threshold)
    checks.non_negative("tolerance", tolerance)
    measured = jnp.asarray(measured)
    if measured.ndim == 0 or 0 in measured.shape:
        raise Refusal(f"measured must have members on axis 0 and no empty axis; got shape {measured.shape}")
    if not jnp.issubdtype(measured.dtype, jnp.floating):
        measured = measured.astype(jnp.result_type(float))
    cells = measured.shape[1:]
    predicted = jnp.asarray(predicted, dtype=measured.dtype)
    checks.finite("predicted", predicted)
    scale = jnp.abs(predicted) if scale is None else jnp.asarray(scale, dtype=measured.dtype)
    checks.non_negative("scale", scale)
    for name, value in (("predicted", predicted), ("scale", scale)):
        if not _broadcasts(value.shape, cells):
            raise Refusal(f"{name} must broadcast to the cells {cells} of measured; got shape {value.shape}")
    return _compare(jnp.broadcast_to(predicted, cells), measured, threshold, tolerance, jnp.broadcast_to(scale, cells))


@jax.jit
def _compare(predicted: Array, measured: Array, threshold: Any, tolerance: Any, scale: Array) -> Comparison:
    finite = jnp.isfinite(measured)
    count = jnp.sum(finite, axis=0)
    number = count.astype(measured.dtype)
    mean = jnp.sum(jnp.where(finite, measured, 0), axis=0) / number
    squares = jnp.sum(jnp.where(finite, (measured - mean[None]) ** 2, 0), axis=0)
    sem = jnp.where(count > 1, jnp.sqrt(squares / jnp.where(count > 1, number - 1, 1) / number), jnp.nan)
    gap = mean - predicted
    z = jnp.where(gap == 0, jnp.where(count > 1, 0, jnp.nan), gap / sem)
    deviation = jnp.where(scale > 0, gap / scale, jnp.nan)

    missing = measured.shape[0] - count
    close = (tolerance > 0) & (jnp.abs(deviation) <= tolerance)
    sharp = (scale == 0) | (threshold * sem <= scale)
    return Comparison(
        predicted=predicted,
        mean=mean,
        sem=sem,
        z=z,
        deviation=deviation,
        count=count,
        missing=missing,
        agrees=(missing == 0) & (close | ((jnp.abs(z) <= threshold) & sharp)),
        differs=(jnp.abs(z) > threshold) & ~close,
    )


def _broadcasts(given: tuple[int, ...], cells: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(given, cells) == cells
    except ValueError:
        return False


def lines(comparison: Comparison, name: str) -> list[str]:
    """One readable line a cell: theory, mean ± SEM over members, z, relative deviation, verdict, missing members."""
    verdict = comparison.verdict
    result = []
    for cell in np.ndindex(verdict.shape):
        label = name + ("[" + ",".join(map(str, cell)) + "]" if cell else "")
        missing, deviation = int(comparison.missing[cell]), float(comparison.deviation[cell])
        relative = "" if np.isnan(deviation) else f", deviation {deviation:+.2%}"
        result.append(
            f"{label}: theory {comparison.predicted[cell]:.6g}, "
            f"mean {comparison.mean[cell]:.6g} ± {comparison.sem[cell]:.2g} over {int(comparison.count[cell])}, "
            f"z = {comparison.z[cell]:+.2f}{relative}: {verdict[cell]}" + (f" ({missing} missing)" if missing else "")
        )
    return result
