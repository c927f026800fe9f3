"""The minimizer of (6) over all widths: newcomers, a group lasso on their exact Gram matrix, descent, and again.

For a balanced pair λ(‖w1‖² + ‖w2‖²) = 2λ‖w1‖‖w2‖, so over all widths (6) is convex in the function: with unit
directions u_j, f = Σ_j v_j (u_jᵀy)₊ and

    P = E‖f − x‖² + 2λ Σ_j ‖v_j‖      (E: mean over samples and noise).

With r = x − f, A = E‖r‖², C = E⟨f, r⟩, and G = max_u ‖g(u)‖ of [X5]: any q with ‖E q h_u‖ ≤ λ for all u has
P* ≥ 2E⟨q, x⟩ − E‖q‖², and q = s r is one for s ≤ λ/G. Since E⟨r, x⟩ = A + C the best of them is

    P* ≥ D = 2s(A + C) − s²A,   s = min(λ/G, (A + C)/A),   gap (P − D)/P.      [X6]

G is the result of a search, and the bound holds as far as the search does.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from dae_theory import checks
from dae_theory.certify.minimizer.descent import descend
from dae_theory.certify.minimizer.lasso import group_lasso
from dae_theory.certify.minimizer.newborns import distinct, search
from dae_theory.certify.minimizer.newborns import pulls as pulls_at
from dae_theory.certify.minimizer.tiles import Data, Pairs, on_host, singles
from dae_theory.certify.objective import checked
from dae_theory.checks import Refusal
from dae_theory.model import Weights

ASCENT_STEPS = 40  # of all ascents of a round together
DESCENT_STEPS = 15  # between two lassos
LAST_STEPS = 300  # of the descent that ends a run whose width is full
PULLED = 5e-4  # pull over λ, less 1, from which on a direction joins
NEW = 0.999  # cosine above which two newcomers are one
SAME = 0.99999  # cosine above which two neurons are one
CONFIRM = 2  # times as many starts in the search that ends a run
STALLED = 1e-6  # relative decrease of the objective below which a full width is done


@struct.dataclass
class Minimizer:
    """What `global_minimizer` found.

    Attributes:
        weights: decoder and encoder, (d, p), balanced, largest neuron first; one zero neuron where f = 0.
        objective: P, the value of (6) there, exact.
        lower_bound: D of [X6], below the value of (6) of any net of any width, as far as the search for G holds.
        gap: (P − D)/P.
        growth: G/λ, with G the largest pull found at `weights`.
        neurons: how many neurons the net has; not a number of the data alone, as the function is.
        rounds: how many times newcomers joined.
        starts: how many ascents are behind G.
        converged: whether the gap is within the tolerance.
        proven: whether the gap rests on no search: f = 0, and Cauchy and Schwarz bound every pull by λ.
    """

    weights: Weights
    objective: Float[Array, ""]
    lower_bound: Float[Array, ""]
    gap: Float[Array, ""]
    growth: Float[Array, ""]
    neurons: int
    rounds: int
    starts: int
    converged: bool
    proven: bool


class _Net(NamedTuple):
    """Unit directions (d, p) and decoders (d, p) with ‖v_j‖ = `lengths`, the parts of P, and P."""

    directions: np.ndarray
    decoder: np.ndarray
    lengths: np.ndarray
    error: float
    alignment: float
    value: float


class _Bound(NamedTuple):
    """G, the directions behind it with their pulls, strongest first, and D."""

    growth: float
    directions: np.ndarray
    pulls: np.ndarray
    value: float


def global_minimizer(
    x: ArrayLike,
    *,
    noise_std: ArrayLike,
    weight_decay: ArrayLike,
    width: int | None = None,
    tolerance: float = 1e-2,
    rounds: int = 40,
    starts: int = 192,
    seed: int = 0,
    start: Weights | None = None,
) -> Minimizer:
    """The minimizer of the exact objective (6) over all widths, with its gap [X6].

    The minimizing function is unique, its neurons are not. A run that ends without reaching the tolerance returns what
    it has, with its gap. Runs on the host: neither jit nor vmap; one program is compiled, whatever the sizes.

    Args:
        x: samples, (n, d), float64.
        noise_std: σ > 0.
        weight_decay: λ > 0; without decay there is no smallest net.
        width: the most neurons, ≥ 1; None for no limit. The gap then is still that to all widths.
        tolerance: relative gap to reach, > 0.
        rounds: how many times newcomers join at most, ≥ 1.
        starts: ascents in each search for newcomers, ≥ 1; the search that ends the run has three times as many.
        seed: of the starts.
        start: a net to begin from, (d, p); by default none. With a width, the result is no worse than it, so that
            newcomers that lower nothing say that it is no local minimum which an exchange of neurons would leave.

    Raises:
        ValueError: bad samples, σ, λ, width, tolerance, rounds, starts or seed, a start of another dimension or with
            more neurons than the width, or single precision.

    >>> import jax.numpy as jnp
    >>> from dae_theory import certify, risk, theory
    >>> x = jnp.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    >>> numbers = {"noise_std": 0.1, "weight_decay": 0.1}
    >>> found = certify.global_minimizer(x, starts=16, **numbers)
    >>> print(found.neurons, f"{abs(found.gap):.6f}")
    3 0.000000
    >>> stored = theory.memorizing_weights(x, **numbers)
    >>> print(f"{abs(risk.network_distance(found.weights, stored, x, noise_std=0.1)):.6f}")
    0.000000
    """
    width = None if width is None else checks.integer("width", width, 1)
    rounds, starts = checks.integer("rounds", rounds, 1), checks.integer("starts", starts, 1)
    generator = np.random.default_rng(checks.integer("seed", seed, 0))
    checks.positive("tolerance", tolerance)
    checks.shape("tolerance", tolerance, ())
    checks.positive("weight_decay", weight_decay)
    samples = checks.samples("x", x)
    if samples.dtype != jnp.float64:
        raise Refusal(f"x must be float64 (jax_enable_x64); got {samples.dtype}")
    if start is None:
        start = Weights(*2 * (jnp.zeros((samples.shape[1], 1)),))
    start, objective = checked(start, samples, noise_std=noise_std, weight_decay=weight_decay)
    data = on_host(objective)
    # small matrices: threads of BLAS beside those of XLA cost more than they bring
    with threadpool_limits(limits=1, user_api="blas"):
        net = _begun(data, start, width)
        net, bound, used, made = _rounds(generator, data, net, width, float(tolerance), rounds, starts)
    proven = (
        not len(net.lengths)
        and float(objective.energy * (objective.spread + objective.noise_std**2)) <= data.weight_decay**2
    )
    gap = _gap(net, bound)
    return Minimizer(
        weights=_weights(net),
        objective=jnp.asarray(net.value),
        lower_bound=jnp.asarray(bound.value),
        gap=jnp.asarray(gap),
        growth=jnp.asarray(bound.growth / data.weight_decay),
        neurons=len(net.lengths),
        rounds=used,
        starts=made,
        converged=gap <= tolerance,
        proven=proven,
    )


def _rounds(
    generator: np.random.Generator,
    data: Data,
    net: _Net,
    width: int | None,
    tolerance: float,
    rounds: int,
    starts: int,
) -> tuple[_Net, _Bound, int, int]:
    """The net of the last round, what is known about it, how many rounds and how many ascents in its last search."""
    full = False
    for used in range(rounds + 1):
        bound = _bound(data, net, *search(generator, data, net.directions, net.decoder, starts, ASCENT_STEPS))
        if _gap(net, bound) <= tolerance or used == rounds or full:
            more = search(generator, data, net.directions, net.decoder, CONFIRM * starts, ASCENT_STEPS)
            bound = _bound(data, net, *_joined(bound, *more))
            if _gap(net, bound) <= tolerance or used == rounds or full:
                break
        before = net
        net = _joining(data, net, bound, width)
        if width is not None and len(net.lengths) == width and net.value > before.value * (1 - STALLED):
            net, full = _local(data, min(net, before, key=lambda one: one.value), LAST_STEPS), True
    return net, bound, used, (CONFIRM + 1) * starts


def _begun(data: Data, start: Weights, width: int | None) -> _Net:
    """The start, with the best lengths of its directions."""
    first, second = (np.linalg.norm(np.asarray(part), axis=0) for part in (start.encoder, start.decoder))
    alive = first * second > 0
    if width is not None and np.sum(alive) > width:
        raise Refusal(f"start must have at most width = {width} neurons; got {np.sum(alive)}")
    return _lasso(data, (np.asarray(start.encoder) / np.where(alive, first, 1))[:, alive], (first * second)[alive])


def _joining(data: Data, net: _Net, bound: _Bound, width: int | None) -> _Net:
    """The net after newcomers have joined, others have left, and all have moved."""
    chosen = distinct(bound.directions, NEW)
    chosen = chosen[bound.pulls[chosen] > data.weight_decay * (1 + PULLED)]
    wider = np.concatenate([net.directions, bound.directions[:, chosen]], axis=1)
    net = _lasso(data, wider, np.concatenate([net.lengths, np.zeros(len(chosen))]))
    if width is not None and len(net.lengths) > width:
        net = _lasso(data, net.directions[:, :width], net.lengths[:width])
    return _local(data, net, DESCENT_STEPS)


def _local(data: Data, net: _Net, steps: int) -> _Net:
    """The net after descent of all neurons, without parallel ones, and a lasso."""
    if not len(net.lengths):
        return net
    encoder, decoder = descend(data, net.directions * np.sqrt(net.lengths), steps)
    first, second = np.linalg.norm(encoder, axis=0), np.linalg.norm(decoder, axis=0)
    order = np.argsort(-first * second)
    order = order[(first * second)[order] > 0]
    directions, lengths = (encoder / np.where(first > 0, first, 1))[:, order], (first * second)[order]
    kept = distinct(directions, SAME)
    return _lasso(data, directions[:, kept], lengths[kept])


def _lasso(data: Data, directions: np.ndarray, lengths: np.ndarray) -> _Net:
    """The best net whose directions are among these, largest neuron first, from a first guess of the lengths."""
    gram = Pairs(data, directions, slope=False).value
    overlap = singles(data, directions).first.T @ (data.share[:, None] * data.x)
    decoder = group_lasso(gram, overlap, data.weight_decay, lengths) if len(lengths) else overlap
    lengths = np.linalg.norm(decoder, axis=1)
    order = np.argsort(-lengths)
    used = order[lengths[order] > 0]
    decoder, lengths = decoder[used], lengths[used]
    energy, pull = (
        float(np.sum((decoder @ decoder.T) * gram[np.ix_(used, used)])),
        float(np.sum(decoder * overlap[used])),
    )
    error = energy - 2 * pull + data.energy
    value = error + 2 * data.weight_decay * float(np.sum(lengths))
    return _Net(directions[:, used], decoder.T, lengths, error, pull - energy, value)


def _bound(data: Data, net: _Net, directions: np.ndarray, pulls: np.ndarray) -> _Bound:
    """D of [X6]; the net's own neurons, which pull λ, are among the directions behind G."""
    own = np.linalg.norm(pulls_at(data, net.directions, net.directions, net.decoder), axis=1)
    growth, linear = float(max(pulls[0], np.max(own, initial=0.0))), net.error + net.alignment
    scale = max(
        0.0, min(data.weight_decay / max(growth, np.finfo(float).tiny), linear / max(net.error, np.finfo(float).tiny))
    )
    return _Bound(growth, directions, pulls, 2 * scale * linear - scale**2 * net.error)


def _joined(bound: _Bound, directions: np.ndarray, pulls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The results of two searches, strongest first."""
    directions, pulls = np.concatenate([bound.directions, directions], axis=1), np.concatenate([bound.pulls, pulls])
    order = np.argsort(-pulls)
    return directions[:, order], pulls[order]


def _gap(net: _Net, bound: _Bound) -> float:
    return (net.value - bound.value) / net.value if net.value > 0 else 0.0


def _weights(net: _Net) -> Weights:
    if not len(net.lengths):
        zero = jnp.zeros((len(net.directions), 1))
        return Weights(zero, zero)
    root = np.sqrt(net.lengths)[None, :]
    return Weights(jnp.asarray(net.decoder / root), jnp.asarray(net.directions * root))
