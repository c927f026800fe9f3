"""Clean data, where (9) and the blocks (7)-(8) are exact: how much lower the minimizer is, and what it adds.

stored   K samples on a simplex, one neuron each, (9)
blocks   clusters whose spread is orthogonal to all means, top eigenpairs of each, (7)-(8)
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import certify, compare, data, risk, theory
from dae_theory.model import Weights
from dae_theory.randomness import derive
from sims import launch
from sims.measures.minimizers import Searches

DIMENSION, COMPONENTS, RADIUS, RANK, SPREAD, EACH = 8, 3, 6.0, 1, 1.0, 4
OBLIQUE = 30.0  # degrees to the nearest block from which on a neuron counts as oblique
CASES = ("stored", "blocks")


class Beside(NamedTuple):
    """How a solution stands to the minimizer, and where that has its neurons, by mass ‖w1‖‖w2‖.

    Each neuron belongs to the span that it is nearest to, and to the samples that are nearest to that span. It splits
    them where it is on at some and off at others: blocks are on at all samples of their own.

    Attributes:
        excess: exact objective over the minimizer's, less 1.
        gap: of the minimizer.
        own: neurons of the solution.
        growth: pull on the strongest newcomer at the solution, over λ.
        left: share of the objective that exact descent from the solution removes.
        neurons: of the minimizer.
        oblique: share of the minimizer's mass further than `OBLIQUE` from every span.
        angle: mean angle of its mass to the nearest span, degrees.
        split: share of its mass that is on at only some samples of its span.
        gradient: norm of the gradient at the solution.
    """

    excess: float
    gap: float
    own: float
    growth: float
    left: float
    neurons: float
    oblique: float
    angle: float
    split: float
    gradient: float


def cases(run: launch.Run, root: Array, count: int, searches: Searches, noise_std: float, weight_decay: float) -> Any:
    """Both solutions beside the minimizer on some data sets: `clean_…` over (case, clean); empty without any."""
    found = np.empty((len(Beside._fields), len(CASES), count))
    for k in range(count):
        found[:, :, k] = np.transpose(_case(derive(root, "clean", k), searches, noise_std, weight_decay))
        run.advance()
    variables = {f"clean_{name}": (("case", "clean"), found[row]) for row, name in enumerate(Beside._fields)}
    return xr.Dataset(variables, coords={"case": list(CASES)})


def _case(key: Array, searches: Searches, noise_std: float, weight_decay: float) -> list[Beside]:
    """The numbers of both cases on one data set."""
    numbers: dict[str, Any] = {"noise_std": noise_std, "weight_decay": weight_decay}
    shape = {"dimension": DIMENSION, "components": COMPONENTS, "radius": RADIUS}
    mixture = data.simplex_mixture(derive(key, "mixture"), **shape, rank=RANK, spread=SPREAD, clean=True)
    samples = mixture.sample_balanced(derive(key, "samples"), EACH)
    spectrum = theory.sample_spectrum(samples.x, samples.labels, COMPONENTS)
    kept = np.asarray(spectrum.eigenvalues * spectrum.proportions[:, None]) > weight_decay  # others are exactly zero
    ranks = tuple(int(min(RANK + 1, count)) for count in kept.sum(axis=1))
    blocks = theory.block_weights(samples.x, samples.labels, ranks, **numbers)
    stored = theory.memorizing_weights(mixture.means, **numbers)
    spans = np.split(np.asarray(blocks.encoder), np.cumsum(ranks)[:-1], axis=1)
    columns = list(np.asarray(stored.encoder).T[:, :, None])
    return [
        _beside(stored, mixture.means, columns, searches, numbers),
        _beside(blocks, samples.x, spans, searches, numbers),
    ]


def _beside(own: Weights, x: Array, spans: list[np.ndarray], searches: Searches, numbers: dict[str, Any]) -> Beside:
    """A solution with one span of neurons a sample or cluster, beside the minimizer on the samples x."""
    exact = jax.value_and_grad(lambda weights: risk.expected_loss(weights, x, **numbers))
    loss, gradient = exact(own)
    settled = certify.settle(own, x, **numbers)
    # a gap of 1 is reached by any net: nothing but the pull on newcomers is looked for
    at_own = certify.global_minimizer(x, **numbers, start=own, tolerance=1.0, starts=searches.starts)
    least = certify.global_minimizer(
        x, **numbers, tolerance=searches.tolerance, rounds=searches.rounds, starts=searches.starts
    )
    encoder, samples = np.asarray(least.weights.encoder), np.asarray(x)
    lengths = np.linalg.norm(encoder, axis=0)
    units, mass = encoder / lengths, lengths**2 / np.sum(lengths**2)
    bases = [np.linalg.qr(span)[0] for span in spans]
    cosines = np.asarray([np.linalg.norm(basis.T @ units, axis=0) for basis in bases])
    angles = np.degrees(np.arccos(np.clip(np.max(cosines, axis=0), 0, 1)))
    cluster = np.argmax([np.linalg.norm(samples @ basis, axis=1) for basis in bases], axis=0)
    mine = cluster[:, None] == np.argmax(cosines, axis=0)[None, :]
    on = samples @ units > 0
    split = np.any(mine & on, axis=0) & np.any(mine & ~on, axis=0)
    return Beside(
        excess=float(loss / least.objective) - 1,
        gap=float(least.gap),
        own=float(own.width),
        growth=float(at_own.growth),
        left=float(1 - settled.loss / loss),
        neurons=float(least.neurons),
        oblique=float(np.sum(mass[angles > OBLIQUE])),
        angle=float(np.sum(mass * angles)),
        split=float(np.sum(mass[split])),
        gradient=float(jnp.sqrt(sum(jnp.sum(part**2) for part in jax.tree.leaves(gradient)))),
    )


def rows(data: xr.Dataset) -> Iterator[compare.Row]:
    """Both solutions: stationary, a newcomer grows, by how much the minimizer is lower, and what it adds."""
    if not data.sizes.get("clean"):
        return
    for case, words, label in (
        ("stored", f"(9) on a simplex of {COMPONENTS} samples", "(9)"),
        ("blocks", f"blocks on {COMPONENTS} clean clusters of {EACH} samples", "(7), (8)"),
    ):
        at = data.sel(case=case)
        yield compare.number(f"{words}: largest gradient norm", f"{label}  ∂L = 0", at["clean_gradient"].max())
        yield compare.mean(f"{words}: pull on the strongest newcomer over λ", "[X5]", at["clean_growth"])
        yield compare.mean(f"{words}: exact objective over the minimizer's, less 1", label, at["clean_excess"])
    added = at["clean_neurons"] / at["clean_own"]
    yield compare.number(f"{words}: share that exact descent from them removes", label, at["clean_left"].max())
    yield compare.mean(f"{words}: neurons of the minimizer found over those of the blocks", label, added)
    whose = f"{words}: of the minimizer's mass ‖w1‖‖w2‖, "
    yield compare.mean(f"{whose}share that is on at only some samples of its cluster", label, at["clean_split"])
    yield compare.mean(f"{whose}mean angle to the nearest block, degrees", label, at["clean_angle"])
    yield compare.mean(f"{whose}share further than {OBLIQUE:.0f}° from every block", label, at["clean_oblique"])
