"""Searches of one data set after the other, each on disk before the next begins: minimizers, and nets taken apart.

A trained net is taken apart in steps that each remove one reason why it is above the minimizer:

settled     down the exact objective, which has no noise, to a stationary point
exchanged   with its smallest neurons replaced by newcomers that pull more, at the same number of neurons
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from dae_theory import certify
from dae_theory.model import Weights, pad_width
from sims import launch
from sims.measures.index import Place

FOUND = ("objective", "lower_bound", "gap", "growth", "neurons", "rounds", "starts", "converged")
LONG = 16  # samples, from which on a search is worth announcing
EASIER = 3  # times fewer ascents where newcomers only take the place of neurons: many grow
APART = (
    *("early_objective", "early_gradient", "settled_objective", "settled_gradient"),
    *("exchanged_objective", "exchanged_growth"),
)


@dataclass(frozen=True)
class Searches:
    """How long to search.

    Attributes:
        most: neurons of a minimizer.
        tolerance: relative gap at which a search ends.
        rounds: of newcomers, at most.
        exchanges: of newcomers for neurons, at most.
        starts: ascents in each round.
        descent: steps of each exact descent.
    """

    most: int
    tolerance: float
    rounds: int
    exchanges: int
    starts: int
    descent: int


def found(
    run: launch.Run,
    x: np.ndarray,
    places: Sequence[Place],
    searches: Searches,
    *,
    part: str = "minimizers",
    seed: int = 0,
) -> tuple[dict[str, np.ndarray], list[Weights]]:
    """What every data set's minimizer is known by, and the minimizers, all of one width.

    `part` names them on disk, `seed` is that of the starts.
    """
    shape = (x.shape[2], searches.most)

    def one(at: Place) -> list[np.ndarray]:
        minimizer = certify.global_minimizer(
            jnp.asarray(x[at.world, : at.n]),
            noise_std=at.noise_std,
            weight_decay=at.weight_decay,
            width=searches.most,
            tolerance=searches.tolerance,
            rounds=searches.rounds,
            starts=searches.starts,
            seed=seed,
        )
        numbers = np.asarray([float(getattr(minimizer, name)) for name in FOUND])
        return [*_arrays(minimizer.weights, searches.most), numbers]

    decoders, encoders, numbers = _kept(run, part, [shape, shape, (len(FOUND),)], places, one)
    widest = max(1, int(numbers[:, FOUND.index("neurons")].max()))
    weights = [_weights(*pair, widest) for pair in zip(decoders, encoders, strict=True)]
    return dict(zip(FOUND, numbers.T, strict=True)), weights


def taken_apart(
    run: launch.Run,
    x: np.ndarray,
    places: Sequence[Place],
    early: Sequence[Weights],
    late: Sequence[Weights],
    searches: Searches,
) -> tuple[dict[str, np.ndarray], dict[str, list[Weights]]]:
    """Nets after a short and a long run: both settled, the better one exchanged; numbers by name, nets by stage.

    Nets that are not finite, and what comes after them, are NaN.
    """
    width = early[0].encoder.shape[1]
    shape = (3, x.shape[2], width)

    def one(at: Place) -> list[np.ndarray]:
        k = places.index(at)
        pair = early[k], late[k]
        if not all(np.isfinite(np.asarray(net.encoder)).all() for net in pair):
            return [np.full(shape, np.nan), np.full(shape, np.nan), np.full(len(APART), np.nan)]
        samples = jnp.asarray(x[at.world, : at.n])
        numbers: dict[str, Any] = {"noise_std": at.noise_std, "weight_decay": at.weight_decay}
        short, long = (certify.settle(net, samples, **numbers, max_steps=searches.descent) for net in pair)
        exchanged = certify.global_minimizer(
            samples,
            **numbers,
            width=width,
            tolerance=searches.tolerance,
            rounds=searches.exchanges,
            starts=max(1, searches.starts // EASIER),
            start=min(short, long, key=lambda end: float(end.loss)).weights,
        )
        ends = [_arrays(end.weights, width) for end in (short, long, exchanged)]
        told = (short.loss, short.gradient_norm, long.loss, long.gradient_norm, exchanged.objective, exchanged.growth)
        return [*(np.stack(parts) for parts in zip(*ends, strict=True)), np.asarray([float(number) for number in told])]

    decoders, encoders, numbers = _kept(run, "apart", [shape, shape, (len(APART),)], places, one)
    nets = {
        stage: [_weights(decoder[k], encoder[k], width) for decoder, encoder in zip(decoders, encoders, strict=True)]
        for k, stage in enumerate(("early", "settled", "exchanged"))
    }
    return dict(zip(APART, numbers.T, strict=True)), nets


def _kept(
    run: launch.Run,
    part: str,
    shapes: Sequence[tuple[int, ...]],
    places: Sequence[Place],
    one: Callable[[Place], list[np.ndarray]],
) -> list[np.ndarray]:
    """The arrays of every place, stacked; each place on disk before the next begins."""
    store = run.record.chunks(part)
    expected = [np.broadcast_to(np.float64(0), (len(places), *shape)) for shape in shapes]
    done = {start: leaves for (start, _), leaves in store.finished(expected).items()}
    for k, place in enumerate(places):
        if k not in done:
            if place.n >= LONG:
                run.say(f"{part}, n = {place.n}, data set {place.world}: may take minutes")
            began = time.perf_counter()
            done[k] = [leaf[None] for leaf in one(place)]
            store.save(k, k + 1, done[k], time.perf_counter() - began)
        run.advance()
    return [np.concatenate([done[k][leaf] for k in range(len(places))]) for leaf in range(len(shapes))]


def _arrays(weights: Weights, width: int) -> list[np.ndarray]:
    padded = pad_width(weights, width)
    return [np.asarray(padded.decoder, float), np.asarray(padded.encoder, float)]


def _weights(decoder: np.ndarray, encoder: np.ndarray, width: int) -> Weights:
    return Weights(jnp.asarray(decoder[:, :width]), jnp.asarray(encoder[:, :width]))
