"""How separable labelled samples are (Def. 3.1), and the search for samples that are as separable as possible."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from dae_theory import checks
from dae_theory.checks import Refusal

_HIGHEST = jax.lax.Precision.HIGHEST
_COSINES = 2**22  # held at once by the search


@struct.dataclass
class Separability:
    """The smallest α and β for which clusters are (α, β)-separable, Def. 3.1.

    α = max_{k,j} ‖x_kj − x̄_k‖ / ‖x̄_k‖        β = max_{k≠l} cos(x̄_k, x̄_l)

    Attributes:
        alpha: α ≥ 0, the relative radius of the loosest cluster; 0 where every cluster is one point.
        beta: β, the cosine of the closest pair of cluster means; −∞ where there is one cluster.
        loosest_cluster: label of the cluster that attains α.
        closest_pair: labels of the two clusters that attain β, shape (2,); where there is one cluster, its label twice.
    """

    alpha: Float[Array, ""]
    beta: Float[Array, ""]
    loosest_cluster: Int[Array, ""]
    closest_pair: Int[Array, "2"]


def separability(x: Any, labels: Any) -> Separability:
    """(α, β) of Def. 3.1 for samples x (n, d) in the clusters that `labels` (n,) names by integers.

    Clusters are the distinct labels; `jnp.arange(n)` makes every sample its own cluster. Labels are looked at, so they
    must be concrete; x may be traced (jit, vmap, grad). Memory is O(n d) besides blocks of 256 rows of cosines.

    Raises:
        ValueError: x is not a finite (n, d) array, labels are not n integers, or the mean of a cluster is zero within
            rounding: it has no direction, and no α would do.

    >>> import jax.numpy as jnp
    >>> from dae_theory import data
    >>> x = jnp.array([[2.0, 0.5], [2.0, -0.5], [-2.0, 0.5], [-2.0, -0.5]])
    >>> found = data.separability(x, jnp.array([0, 0, 1, 1]))
    >>> print(f"{found.alpha:.3f} {found.beta:.3f}")
    0.250 -1.000
    """
    x = checks.samples("x", x)
    if checks.is_traced(labels):
        raise Refusal("labels must be concrete: the number of clusters is read from them; got a traced array")
    names = np.asarray(labels)
    checks.shape("labels", names, (x.shape[0],))
    if not np.issubdtype(names.dtype, np.integer):
        raise Refusal(f"labels must be integers; got dtype {names.dtype}")
    names, cluster, sizes = np.unique(names, return_inverse=True, return_counts=True)
    cluster, sizes = jnp.asarray(cluster, dtype=jnp.int32), jnp.asarray(sizes, dtype=x.dtype)
    alpha, beta, loosest, pair, resolved = _measure(x, cluster, sizes)
    if not checks.is_traced(x) and not np.all(resolved):
        raise Refusal(
            f"x must not have a cluster of mean zero, which has no direction (Def. 3.1); got mean zero for the labels "
            f"{names[~np.asarray(resolved)].tolist()}. Data that are symmetric about the origin have to be moved off it"
        )
    names = jnp.asarray(names, dtype=jnp.int32)
    return Separability(alpha, beta, names[loosest], names[pair])


@jax.jit
def _measure(x: Array, cluster: Array, sizes: Array) -> tuple[Array, Array, Array, Array, Array]:
    """α, β, the cluster and the pair that attain them, and which means differ from zero by more than rounding."""
    count = sizes.shape[0]
    means = jax.ops.segment_sum(x, cluster, count) / sizes[:, None]
    norms = jnp.linalg.norm(means, axis=1)
    largest = jax.ops.segment_max(jnp.linalg.norm(x, axis=1), cluster, count)
    resolved = norms > sizes * jnp.finfo(x.dtype).eps * largest

    # The mean of one sample is that sample, but for rounding.
    apart = jnp.where((sizes > 1)[cluster][:, None], x - means[cluster], 0)
    squares = jnp.sum(apart**2, axis=1) / jnp.sum(means**2, axis=1)[cluster]
    loosest = jnp.argmax(squares)
    square = squares[loosest]
    alpha = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)  # The root has no slope at 0.

    directions = means / norms[:, None]

    def closest(k: Array) -> tuple[Array, Array]:
        cosines = jnp.matmul(directions, directions[k], precision=_HIGHEST)
        cosines = jnp.where(jnp.arange(count) == k, -jnp.inf, cosines)
        partner = jnp.argmax(cosines)
        return cosines[partner], partner

    cosines, partners = jax.lax.map(closest, jnp.arange(count), batch_size=min(count, 256))
    first = jnp.argmax(cosines)
    pair = jnp.sort(jnp.stack([first, partners[first]]))
    return alpha, cosines[first], cluster[loosest], pair, resolved


def most_separable(x: Any, count: int, *, restarts: int = 32) -> Int[Array, " count"]:
    """Rows of x whose largest pairwise cosine is as small as the search can make it: the smallest β for single samples.

    From each of `restarts` starting rows, rows are added one at a time, always the one whose largest cosine to the rows
    already chosen is smallest. Then, while that lowers the largest cosine, one row of the closest pair is exchanged for
    the best row outside. The best set over all starts is returned. The starts are spread evenly over the rows ranked by
    their cosine to the mean direction, from the row that shares least with the others on; with restarts ≥ n every row
    is one. Deterministic. The result is an upper bound of the smallest possible cosine, not a proof: to find that is
    as hard as to find the largest clique of a graph.

    Runs on the host in NumPy, so not under jit. Growing costs restarts·count·n·d multiplications and every round of
    exchanges, of which there are tens, as many: take fewer restarts for hundreds of rows. Memory is
    O(n (d + restarts) + restarts·count·(d + count)), never n².

    Args:
        x: samples, shape (n, d), none of them zero.
        count: size of the subset, from 1 to n.
        restarts: number of starting rows, ≥ 1.

    Returns:
        Row indices in increasing order, int32, shape (count,).

    Raises:
        ValueError: x is not a finite (n, d) array or has a zero row; `count` is not between 1 and n; restarts < 1.

    >>> import jax.numpy as jnp
    >>> from dae_theory import data
    >>> x = jnp.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [-1.0, 0.0]])
    >>> print(data.most_separable(x, 2))
    [0 3]
    """
    x = np.asarray(checks.samples("x", x))
    n = x.shape[0]
    if checks.integer("count", count, 1) > n:
        raise Refusal(f"count must be at most the {n} rows of x; got {count}")
    norms = np.linalg.norm(x, axis=1)
    if not norms.all():
        zero = np.flatnonzero(norms == 0)
        raise Refusal(f"x must not have zero rows, which have no cosine; got {len(zero)}, the first is row {zero[0]}")
    directions = x / norms[:, None]
    ranked = np.argsort(directions @ directions.mean(axis=0), kind="stable")
    starts = ranked[np.linspace(0, n - 1, min(checks.integer("restarts", restarts, 1), n)).round().astype(int)]
    chosen = _exchanged(directions, _grown(directions, starts, count))
    best = chosen[np.argmin(_inside(directions, chosen).max(axis=(1, 2)))]
    return jnp.asarray(np.sort(best), dtype=jnp.int32)


def _grown(directions: np.ndarray, starts: np.ndarray, count: int) -> np.ndarray:
    """Greedy sets from all starts side by side: rows of shape (starts, count)."""
    runs = np.arange(len(starts))
    chosen = starts[:, None]
    largest = np.full((len(starts), len(directions)), -np.inf, dtype=directions.dtype)
    for _ in range(count - 1):
        np.maximum(largest, directions[chosen[:, -1]] @ directions.T, out=largest)
        largest[runs, chosen[:, -1]] = np.inf
        chosen = np.concatenate([chosen, largest.argmin(axis=1)[:, None]], axis=1)
    return chosen


def _exchanged(directions: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The sets, rows of (sets, count), improved by single exchanges until none lowers the largest cosine."""
    chosen = chosen.copy()
    rounding = 8 * np.finfo(directions.dtype).eps
    active = np.arange(len(chosen))
    while active.size and chosen.shape[1] > 1:
        sets = chosen[active]
        runs = np.arange(len(sets))
        inside = _inside(directions, sets)
        current = inside.max(axis=(1, 2))
        # Only an exchange of one of the closest pair can lower the largest cosine: pair[0] leaves, or pair[1].
        pair = np.stack(np.unravel_index(inside.reshape(len(sets), -1).argmax(axis=1), inside.shape[1:]))
        reach = _reach_without(directions, sets, pair)
        entering = reach.argmin(axis=2)
        staying = inside[None].repeat(2, axis=0)
        for which in (0, 1):
            staying[which, runs, pair[which], :] = -np.inf
            staying[which, runs, :, pair[which]] = -np.inf
        largest = np.maximum(staying.max(axis=(2, 3)), reach.min(axis=2))
        which = largest.argmin(axis=0)
        better = largest[which, runs] < current - rounding
        chosen[active, pair[which, runs]] = np.where(better, entering[which, runs], sets[runs, pair[which, runs]])
        active = active[better]
    return chosen


def _inside(directions: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """Cosines within each set, −∞ on the diagonal: (sets, count, count)."""
    members = directions[sets]
    cosines = members @ members.swapaxes(1, 2)
    cosines[:, np.arange(sets.shape[1]), np.arange(sets.shape[1])] = -np.inf
    return cosines


def _reach_without(directions: np.ndarray, sets: np.ndarray, pair: np.ndarray) -> np.ndarray:
    """Largest cosine of every row to each set without pair[0], then without pair[1]: (2, sets, n), ∞ for members."""
    runs = np.arange(len(sets))
    members = directions[sets].reshape(sets.size, -1).T
    reach = np.empty((2, len(sets), len(directions)), dtype=directions.dtype)
    block = max(_COSINES // sets.size, 1)
    for start in range(0, len(directions), block):
        cosines = (directions[start : start + block] @ members).reshape(-1, *sets.shape)
        for which in (0, 1):
            left_out = cosines[:, runs, pair[which]]
            cosines[:, runs, pair[which]] = -np.inf
            reach[which, :, start : start + block] = cosines.max(axis=2).T
            cosines[:, runs, pair[which]] = left_out
    reach[:, runs[:, None], sets] = np.inf
    return reach
