"""The solve behind `dynamics.gradient_flow`, for arguments already checked: velocity, steps, events, what is kept."""

from collections.abc import Callable
from functools import partial
from typing import Any

import diffrax
import jax
import jax.flatten_util
import jax.numpy as jnp
import optimistix
from jax import Array

from dae_theory import biases, risk
from dae_theory.model import Weights

Matrices = tuple[Array, ...]  # (decoder, encoder), or the one matrix of tied weights
ENDINGS = ("crossed", "stationary")


def as_weights(matrices: Matrices) -> Weights:
    """Decoder and encoder."""
    return Weights(decoder=matrices[0], encoder=matrices[-1])


@partial(jax.jit, static_argnames=("tied", "with_biases", "until", "dense", "max_steps"))
def solve(
    weights: Weights,
    source: Any,
    share: Array | None,
    noise_std: Array,
    weight_decay: Array,
    times: Array,
    tolerance: Array,
    stationarity: Array | None,
    *,
    tied: bool,
    with_biases: bool,
    until: Callable[[Weights], Array] | None,
    dense: bool,
    max_steps: int,
) -> dict[str, Any]:
    """The fields of a `Flow`."""
    objective = partial(_objective, source, share, noise_std, weight_decay, with_biases=with_biases)

    def velocity(_: Any, matrices: Matrices, __: Any) -> Matrices:
        return jax.tree.map(jnp.negative, jax.grad(objective)(matrices))

    start = (weights.encoder,) if tied else (weights.decoder, weights.encoder)
    margins = _margins(velocity, start, until, stationarity)
    with jax.numpy_dtype_promotion("standard"):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(velocity),
            diffrax.Tsit5(),
            t0=jnp.zeros((), times.dtype),
            t1=times[-1],
            dt0=None,
            y0=start,
            saveat=diffrax.SaveAt(
                subs=[diffrax.SubSaveAt(ts=times), diffrax.SubSaveAt(t1=True)],
                dense=dense,
            ),
            stepsize_controller=_controller(start, tolerance),
            event=_event(margins, tolerance),
            adjoint=diffrax.ForwardMode(),
            max_steps=max_steps,
            throw=False,
        )
    return _told(solution, objective, margins, times)


def _told(
    solution: diffrax.Solution,
    objective: Callable[[Matrices], Array],
    margins: dict[str, Callable[[Matrices], Array]],
    times: Array,
) -> dict[str, Any]:
    """What a solution says, under the names of `Flow`; NaN wherever it did not arrive."""
    assert solution.ts is not None
    assert solution.ys is not None
    path, last = solution.ys[0], jax.tree.map(lambda matrix: matrix[0], solution.ys[1])
    reached = _finite(path, (1, 2))  # diffrax fills what it did not reach with infinity
    ended = (solution.result == diffrax.RESULTS.event_occurred) & _finite(last, (0, 1))
    arrived = ended | ((solution.result == diffrax.RESULTS.successful) & jnp.all(reached))
    left = {name: margin(last) for name, margin in margins.items()}
    never = jnp.zeros((), bool)
    by = {
        name: ended & (left[name] <= jnp.min(jnp.stack(list(left.values())))) if name in left else never
        for name in ENDINGS
    }
    return {
        "times": times,
        "weights": as_weights(jax.tree.map(lambda matrix: jnp.where(reached[:, None, None], matrix, jnp.nan), path)),
        "loss": jnp.where(reached, jax.lax.map(objective, path), jnp.nan),
        "converged": arrived,
        "steps": jnp.asarray(solution.stats["num_steps"]),
        "end": jnp.where(arrived, solution.ts[1][0], jnp.nan),
        "last": as_weights(jax.tree.map(lambda matrix: jnp.where(arrived, matrix, jnp.nan), last)),
        "path": solution.interpolation,
        **by,
    }


def _objective(
    source: Any, share: Array | None, noise_std: Array, weight_decay: Array, matrices: Matrices, *, with_biases: bool
) -> Array:
    """(6) on samples, or on a mixture with its weight decay."""
    here = as_weights(matrices)
    if share is not None:
        if not with_biases:
            return risk.shared_loss(here, source, noise_std, weight_decay, share)
        return biases.shared_loss(here, source, noise_std, weight_decay, share)
    read = here.decoder[:-1] if with_biases else here.decoder
    loss = (biases if with_biases else risk).mixture_loss(here, source, noise_std=noise_std)
    return loss + weight_decay * (jnp.sum(here.encoder**2) + jnp.sum(read**2))


def _finite(matrices: Matrices, axes: tuple[int, ...]) -> Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(matrix), axis=axes) for matrix in matrices]), axis=0)


def _margins(
    velocity: Callable[[Any, Matrices, Any], Matrices],
    start: Matrices,
    until: Callable[[Weights], Array] | None,
    stationarity: Array | None,
) -> dict[str, Callable[[Matrices], Array]]:
    """What ends the flow where it falls to zero: `until`, positive at the start, and ‖∂L‖ over its level less one."""
    found: dict[str, Callable[[Matrices], Array]] = {}
    if until is not None:
        side = jnp.where(until(as_weights(start)) < 0, -1, 1)
        found["crossed"] = lambda matrices: side * until(as_weights(matrices))
    if stationarity is not None:

        def above(matrices: Matrices) -> Array:
            squares = jnp.stack([jnp.sum(matrix**2) for matrix in velocity(None, matrices, None)])
            return jnp.sqrt(jnp.sum(squares)) / stationarity - 1

        begins = above(start) <= 0  # then it does not fall there, and must not hide where `until` does
        found["stationary"] = lambda matrices: jnp.where(begins, jnp.inf, above(matrices))
    return found


def _event(margins: dict[str, Callable[[Matrices], Array]], tolerance: Array) -> diffrax.Event | None:
    """The first margin that falls through zero. Newton's method, since bisection refuses members without an event."""
    if not margins:
        return None

    def least(t: Any, y: Matrices, args: Any, **_: Any) -> Array:
        return jnp.min(jnp.stack([margin(y) for margin in margins.values()]))

    accuracy: Any = tolerance / 100
    return diffrax.Event(least, optimistix.Newton(rtol=accuracy, atol=accuracy, norm=optimistix.max_norm))


def _controller(start: Matrices, tolerance: Array) -> diffrax.PIDController:
    """Steps whose error is below `tolerance` of each entry, and of the initial entries' root mean square."""

    def largest(matrices: Matrices) -> Array:
        """The norm of errors: with it zero columns, which have none, do not count."""
        return jnp.max(jnp.stack([jnp.max(jnp.abs(matrix)) for matrix in matrices]))

    entries, _ = jax.flatten_util.ravel_pytree(start)
    size = jnp.sqrt(jnp.sum(entries**2) / jnp.maximum(jnp.sum(entries != 0), 1).astype(entries.dtype))
    return diffrax.PIDController(
        rtol=tolerance,
        atol=tolerance * jnp.where(size > 0, size, 1),
        pcoeff=0.3,  # steps are bounded by stability near a minimum: a pure integral control would be rejected there
        icoeff=0.4,
        norm=largest,
    )
