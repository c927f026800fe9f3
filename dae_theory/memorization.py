"""Which samples are memorized: the rule of nearest neighbours, d₁/d₂ < 1/3, and the rate at which it fires.

d₁ and d₂ are the l2 distances to the nearest and the second nearest *distinct* training point. The rule also fires by
chance: where the data fill r dimensions locally, (d₁/d₂)^r is uniform on fresh samples (the ratio of two volumes of a
Poisson process), so a perfect generalizer shows the rate 3^−r. A rate therefore stands beside its null, measured by
applying the rule to held-out data.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
import scipy.stats
from flax import struct
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from dae_theory import checks
from dae_theory.checks import Refusal

THRESHOLD = 1 / 3
_CANDIDATES = 8
_CHUNK = 256
_ROWS = 512  # training rows looked at together; pieces behind the last distinct one are left out
_GROUP = 8  # rows of which the best is looked at first


@struct.dataclass
class Neighbours:
    """Nearest distinct training points of m points.

    Attributes:
        first: d₁, distance to the nearest training point, (m,).
        second: d₂, distance to the second nearest distinct one, (m,); NaN if the mask leaves fewer than two.
        index: Row of the nearest training point (the first of its copies), (m,).
    """

    first: Float[Array, "*members m"]
    second: Float[Array, "*members m"]
    index: Int[Array, "*members m"]

    @property
    def ratio(self) -> Float[Array, "*members m"]:
        """d₁/d₂ in [0, 1], 0 = a copy."""
        return self.first / self.second


@struct.dataclass
class Rate:
    """A share of m points with its uncertainty over the points; numbers or NumPy arrays.

    Attributes:
        rate: The share.
        low, high: Percentile bootstrap interval. It has no width when the rule fires on all of the points or on none.
        wilson_low, wilson_high: Wilson's score interval at the same level, which keeps its width there.
        count: m, the number of points.
    """

    rate: Any
    low: Any
    high: Any
    wilson_low: Any
    wilson_high: Any
    count: int


@struct.dataclass
class MemorizedRate:
    """The rule's rate on generated points beside its null, the rate on held-out data.

    Attributes:
        generated: Rate on the points.
        null: Rate on held-out data; None when none were given.
    """

    generated: Rate
    null: Rate | None


def _first_copies(training: Array) -> Array:
    """Whether each row is the first of its exact copies, (n,). n² d operations under tracing, a sort otherwise."""
    if checks.is_traced(training):
        same = jnp.all(training[:, None, :] == training[None, :, :], axis=-1)
        return jnp.argmax(same, axis=1) == jnp.arange(training.shape[0])
    _, index = np.unique(np.asarray(training), axis=0, return_index=True)
    return jnp.zeros(training.shape[0], dtype=bool).at[index].set(True)


def neighbours_among(
    points: Float[Array, "m d"], training: Float[Array, "n d"], distinct: Bool[Array, " n"]
) -> Neighbours:
    """`nearest_distances` where the copies are known: `distinct` marks one row of each, (n,); others are ignored.

    Costs matrix products alone even under tracing, with the rows up to the last distinct one; nothing is checked. A
    nearest point may be missed where more than 8 are within the rounding of the matrix product, ε(‖x‖² + ‖t‖²) about
    the mean of all rows given.
    """
    return _search(points, training, distinct)[0]


@jax.jit
def _search(points: Array, training: Array, distinct: Array) -> tuple[Neighbours, Array]:
    """Neighbours among candidates, and for each point whether rounding may have kept a nearer one from being one."""
    # ‖x − t‖² by matrix products picks the candidates; their distances are then computed from differences, since
    # the product loses half of the digits exactly where it matters, near a copy. Centring keeps what it loses small.
    centre = jnp.mean(training, axis=0, keepdims=True)
    centred, moved = training - centre, points - centre
    norms = jnp.where(distinct, jnp.sum(centred**2, axis=1), jnp.inf)
    largest_norm = jnp.max(jnp.where(distinct, norms, 0))
    size = min(_ROWS, training.shape[0])
    padding = -training.shape[0] % size
    centred, norms = jnp.pad(centred, ((0, padding), (0, 0))), jnp.pad(norms, (0, padding), constant_values=jnp.inf)
    end = jnp.max(jnp.where(distinct, jnp.arange(training.shape[0]) + 1, 0))
    count = min(_CANDIDATES, training.shape[0])
    epsilon = (training.shape[1] + 4) * float(jnp.finfo(training.dtype).eps)  # of a sum of d products, at worst

    def candidates(moved: Array) -> tuple[Array, Array]:
        """−‖x − t‖² of the nearest rows, largest first, and which rows they are; −inf where there are fewer."""

        def add(piece: Array, best: tuple[Array, Array]) -> tuple[Array, Array]:
            rows, squares = (lax.dynamic_slice_in_dim(array, piece * size, size) for array in (centred, norms))
            product = jnp.matmul(rows, moved, precision=lax.Precision.HIGHEST)
            # In single precision, since XLA sorts all of a double-precision row, which is a hundred times slower; what
            # leaves its range stays a candidate.
            scores = jnp.maximum(2 * product - squares - jnp.sum(moved**2), float(jnp.finfo(jnp.float32).min))
            scores = jnp.where(jnp.isinf(squares), -jnp.inf, scores).astype(jnp.float32)
            scores, place = _largest(jnp.concatenate([best[0], scores]), count)
            return scores, jnp.concatenate([best[1], piece * size + jnp.arange(size)])[place]

        none = jnp.full(count, -jnp.inf, jnp.float32), jnp.zeros(count, jnp.arange(1).dtype)
        return lax.fori_loop(0, (end + size - 1) // size, add, none)

    def one(point: Array, moved: Array) -> tuple[Array, Array, Array, Array]:
        scores, candidate = candidates(moved)
        exact = jnp.sum((training[candidate] - point[None, :]) ** 2, axis=1)
        exact = jnp.where(scores != -jnp.inf, exact, jnp.inf)
        nearest = jnp.argmin(exact)
        others = jnp.where(jnp.arange(count) == nearest, jnp.inf, exact)
        second = jnp.min(others)
        last = -scores[-1].astype(exact.dtype)
        rounding = 2 * epsilon * (jnp.sum(moved**2) + largest_norm)
        rounding += 2 * float(jnp.finfo(jnp.float32).eps) * jnp.abs(last)
        missed = jnp.isfinite(last) & (last - rounding < second) & (count < training.shape[0])
        return jnp.sqrt(exact[nearest]), jnp.sqrt(second), candidate[nearest], missed

    first, second, index, missed = lax.map(lambda pair: one(*pair), (points, moved), batch_size=_CHUNK)
    return Neighbours(first=first, second=jnp.where(jnp.isinf(second), jnp.nan, second), index=index), missed


def _largest(scores: Float[Array, " n"], count: int) -> tuple[Float[Array, " c"], Int[Array, " c"]]:
    """The largest scores and their places; they lie in the groups with the largest maxima: `top_k` sorts only those."""
    rows = len(scores)
    if rows <= 4 * count * _GROUP:
        values, place = lax.top_k(scores, count)
        return values, place
    groups = jnp.pad(scores, (0, -rows % _GROUP), constant_values=-jnp.inf).reshape(-1, _GROUP)
    group = jnp.sort(lax.top_k(jnp.max(groups, axis=1), count)[1])  # in order, so that of equal ones the first is taken
    values, place = lax.top_k(groups[group].ravel(), count)
    return values, jnp.minimum(group[place // _GROUP] * _GROUP + place % _GROUP, rows - 1)


@jax.jit
def _by_differences(points: Array, training: Array, distinct: Array) -> Neighbours:
    """Neighbours with every distance computed from differences: m n d operations that are no matrix product."""

    def one(row: Array) -> tuple[Array, Array, Array]:
        exact = jnp.where(distinct, jnp.sum((training - row[None, :]) ** 2, axis=1), jnp.inf)
        nearest = jnp.argmin(exact)
        others = jnp.where(jnp.arange(exact.size) == nearest, jnp.inf, exact)
        return jnp.sqrt(exact[nearest]), jnp.sqrt(jnp.min(others)), nearest

    return Neighbours(*lax.map(one, points))


def nearest_distances(points: Any, training: Any, *, samples_mask: Any = None) -> Neighbours:
    """Distances d₁, d₂ from every point to the nearest and second nearest distinct training points.

    Exact copies of a row count as one point. Matrix products of 256 points with 512 training points at a time find 8
    candidates for each point; their distances are computed from differences, and all distances of a point where
    rounding may hide a nearer one (under tracing it may: see `neighbours_among`). Works under jit and vmap, where
    `samples_mask` lets the number of training points vary; copies are then found by comparing all pairs (n² d
    operations).

    Args:
        points: (m, d).
        training: (n, d).
        samples_mask: Which rows of `training` exist, (n,) booleans; all when None.

    Raises:
        ValueError: Shapes or dtypes do not fit, entries are NaN or infinite, or `training` has fewer than two distinct
            points.
    """
    points, training = checks.samples("points", points), checks.samples("training", training)
    checks.shape("points", points, (points.shape[0], training.shape[1]))
    if points.dtype != training.dtype:
        raise Refusal(f"points must have the dtype {training.dtype} of training; got {points.dtype}")
    if samples_mask is None:
        distinct = _first_copies(training)
    else:
        checks.shape("samples_mask", samples_mask, (training.shape[0],))
        mask = jnp.asarray(samples_mask, dtype=bool)
        # A masked row may be the first copy of one that exists; one more coordinate tells the two apart.
        distinct = _first_copies(jnp.concatenate([training, mask[:, None].astype(training.dtype)], axis=1)) & mask
    if not checks.is_traced(distinct) and int(jnp.sum(distinct)) < 2:
        raise Refusal(f"training must hold at least two distinct points; got {int(jnp.sum(distinct))}")
    found, missed = _search(points, training, distinct)
    if checks.is_traced(missed) or not np.any(missed):
        return found
    again = np.flatnonzero(np.asarray(missed))
    exact = _by_differences(points[again], training, distinct)
    return jax.tree.map(lambda all_rows, rows: all_rows.at[again].set(rows.astype(all_rows.dtype)), found, exact)


def memorized(
    points: Any, training: Any, threshold: float = THRESHOLD, *, samples_mask: Any = None
) -> Bool[Array, " m"]:
    """Whether each point is memorized, d₁/d₂ < threshold, (m,). Never, when a mask leaves fewer than two points.

    Raises:
        ValueError: As `nearest_distances`, or `threshold` is outside (0, 1].
    """
    if not checks.is_traced(threshold) and not 0 < threshold <= 1:
        raise Refusal(f"threshold must be in (0, 1]; got {threshold}")
    return nearest_distances(points, training, samples_mask=samples_mask).ratio < threshold


def null_rate(dimension: Any, threshold: Any = THRESHOLD) -> Any:
    """The rate threshold^r at which the rule fires on fresh samples that fill r dimensions around every point."""
    return threshold**dimension


def rate(fires: Any, *, level: float = 0.95) -> Rate:
    """Share of True among m booleans, with the percentile bootstrap's interval and Wilson's.

    A resample of m booleans with share q has Binomial(m, q) successes, so the bootstrap's percentiles are that law's
    quantiles over m: exact, without drawing. Not under jit.

    Args:
        fires: Booleans, (..., m); one rate for each leading index.
        level: Level of both intervals, two-sided.

    Raises:
        ValueError: `fires` is not a non-empty array of booleans, or `level` is outside (0, 1).
    """
    if not 0 < level < 1:
        raise Refusal(f"level must be in (0, 1); got {level}")
    fires = np.asarray(fires)
    if fires.ndim == 0 or fires.size == 0 or fires.dtype != bool:
        raise Refusal(f"fires must be a non-empty array of booleans; got {fires.dtype} of shape {fires.shape}")
    m, share, tail = fires.shape[-1], fires.mean(axis=-1), (1 - level) / 2
    z = scipy.special.ndtri(1 - tail)
    centre, spread = share + z**2 / (2 * m), z * np.sqrt(share * (1 - share) / m + (z / (2 * m)) ** 2)
    return Rate(
        rate=share,
        low=scipy.stats.binom.ppf(tail, m, share) / m,
        high=scipy.stats.binom.ppf(1 - tail, m, share) / m,
        wilson_low=(centre - spread) / (1 + z**2 / m),
        wilson_high=(centre + spread) / (1 + z**2 / m),
        count=m,
    )


def memorized_rate(
    points: Any, training: Any, held_out: Any = None, *, threshold: float = THRESHOLD, level: float = 0.95
) -> MemorizedRate:
    """Share of memorized points, with intervals, beside the null: the same rule on held-out data.

    The intervals are over the points; the training set is taken as given. Not under jit.

    Raises:
        ValueError: As `memorized` and `rate`; `held_out` does not fit `training`.

    >>> import jax.numpy as jnp
    >>> from dae_theory import memorization
    >>> training = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> points = jnp.array([[0.1, 0.0], [0.5, 0.5]])
    >>> memorization.memorized_rate(points, training).generated.rate.item()
    0.5
    """
    null = None
    if held_out is not None:
        held_out, training = checks.samples("held_out", held_out), checks.samples("training", training)
        checks.shape("held_out", held_out, (held_out.shape[0], training.shape[1]))
        null = rate(memorized(held_out, training, threshold), level=level)
    return MemorizedRate(generated=rate(memorized(points, training, threshold), level=level), null=null)
