"""Everything that a phase diagram measures about one net, from its weights, its world and its samples alone."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from dae_theory import certify, memorization, risk, theory
from dae_theory.directions import unit
from dae_theory.model import Weights, denoise, jacobian_error, represent
from dae_theory.randomness import derive
from dae_theory.representation import spikiness
from dae_theory.symmetry import alive, merge_parallel
from sims.nets import cell
from sims.worlds.sources import TrainingRows, World

ALIGNED = 0.95  # cosine from which on a neuron counts as lying on a sample
SLICE = 64  # training rows of one piece of an exact loss: a cell pays for the rows it has, not for the padding
JACOBIANS = 32  # training points at which the Jacobian is compared
POLISHED = 1e-8  # gradient norm at which polishing stops
NEAR = 256  # rows that f_emp looks at together: their weights for all points then stay in a core's cache


def measured(
    given: tuple[dict[str, Any], dict[str, Any]],
    worlds: World,
    *,
    max_rows: int,
    evaluation: int,
    truth: Callable,
    population: bool,
    polish: int = 0,
) -> dict[str, Any]:
    """Observables of one net, at the end of its training or at every time of it.

    Args:
        given: a point, and what `trained` says of it.
        worlds: stacked worlds of one dimension.
        max_rows: static bound on the number of training rows, copies included.
        evaluation: noisy points behind every mean.
        truth: (world's truth, σ) -> f_gt.
        population: the world's truth is the mixture that its samples come from: the test loss has a closed form.
        polish: steps of L-BFGS on the exact objective after training; everything is measured on what they lead to.
    """
    point, net = given
    world, own, key = cell.placed(point, worlds, max_rows=max_rows)
    own = replace(own, x=own.x.astype(jnp.float64))
    sigma, decay = (jnp.asarray(point[name], jnp.float64) for name in ("sigma", "lambda"))

    def measure(weights: Weights) -> dict[str, Array]:
        weights, told = jax.tree.map(lambda w: w.astype(jnp.float64), weights), {}
        if polish:
            weights, told = _polished(weights, own, sigma, decay, polish)
        told["finite"] = jnp.all(jnp.isfinite(weights.encoder)) & jnp.all(jnp.isfinite(weights.decoder))
        levels = {"noise_std": sigma, "weight_decay": decay}
        return told | observables(
            weights, own, world, key, **levels, evaluation=evaluation, truth=truth, population=population
        )

    several = net["weights"].encoder.ndim == 3
    # one after the other: a member then needs the memory of one net's measurements
    found = jax.lax.map(measure, net["weights"]) if several else measure(net["weights"])
    return {"train_objective": net["train_objective"]} | found


def observables(
    weights: Weights,
    rows: TrainingRows,
    world: World,
    key: Array,
    *,
    noise_std: Array,
    weight_decay: Array,
    evaluation: int,
    truth: Callable,
    population: bool,
) -> dict[str, Array]:
    """Observables of one net, each a number.

    Args:
        weights: (d, p), float64; columns of padding are zero.
        rows: its training samples, float64.
        world: fresh samples and the truth.
        key: of the net; the noise of evaluation derives from it.
        noise_std: σ.
        weight_decay: λ of (6).
        evaluation: noisy training points behind every mean.
        truth: (world's truth, σ) -> f_gt.
        population: the world's truth is the mixture that its samples come from: the test loss has a closed form.
    """
    x, samples = rows.x, rows.samples
    found = exact_losses(weights, rows, world, noise_std, weight_decay, population=population)
    picked = jnp.arange(evaluation) % samples
    clean = jnp.concatenate([x[picked], world.fresh])
    y = clean + noise_std * jax.random.normal(derive(key, "evaluation"), clean.shape, clean.dtype)
    output = denoise(weights, y)
    kind = jnp.repeat(jnp.arange(2), jnp.asarray([evaluation, len(world.fresh)]), total_repeat_length=len(clean))
    empirical = theory.empirical_denoiser(x, noise_std, samples=samples, chunk=NEAR)(y)
    per_point = _at_points(weights, clean, y, output, empirical, truth(world.truth, noise_std)(y))
    for number, name in enumerate(("train", "test")):
        found |= {f"{name}_{what}": jnp.nanmean(values, where=kind == number) for what, values in per_point.items()}
        to_truth, to_empirical = (found[f"{name}_distance_to_{other}"] for other in ("truth", "empirical"))
        found[f"{name}_index"] = to_truth / (to_truth + to_empirical)
    found |= _stored(weights, x, rows.distinct)
    found |= _memorized(output[evaluation:], world.fresh, x, rows.distinct)
    few = picked[:JACOBIANS]
    levels = {"ridge": noise_std**2, "weight_decay": weight_decay}
    copies = samples - jnp.sum(rows.distinct) + 1  # of the first sample, in the first rows
    share = jnp.where(few < copies, copies, 1).astype(x.dtype) / samples.astype(x.dtype)
    return found | _jacobians(weights, x[few], rows.labels[few], share, world.spectrum, levels)


def exact_losses(
    weights: Weights, rows: TrainingRows, world: World, noise_std: Array, weight_decay: Array, *, population: bool
) -> dict[str, Array]:
    """Losses with the noise integrated in closed form: (6) and its data term on the training rows, the data term on
    fresh points, and the test loss of the population where that is a mixture.

    Training rows and fresh points go through one loop over pieces, so that their sweep is compiled once.
    """
    x, samples, fresh = rows.x, rows.samples, world.fresh
    heldout = len(fresh) + -len(fresh) % SLICE
    padded = jnp.concatenate([jnp.pad(part, ((0, -len(part) % SLICE), (0, 0))) for part in (fresh, x)])
    none = jnp.zeros_like(weight_decay)

    def add(piece: Array, totals: Array) -> Array:
        row = piece * SLICE + jnp.arange(SLICE)
        of_training = piece * SLICE >= heldout
        counts = jnp.where(of_training, row - heldout < samples, row < len(fresh))
        share = jnp.where(counts, 1 / jnp.where(of_training, samples, len(fresh)).astype(x.dtype), 0)
        part = jax.lax.dynamic_slice_in_dim(padded, piece * SLICE, SLICE)
        return totals.at[of_training.astype(int)].add(risk.shared_loss(weights, part, noise_std, none, share))

    pieces = heldout // SLICE + (samples + SLICE - 1) // SLICE
    fresh_loss, loss = jax.lax.fori_loop(0, pieces, add, jnp.zeros(2, x.dtype))
    penalty = weight_decay * (jnp.sum(weights.encoder**2) + jnp.sum(weights.decoder**2))
    losses = {"train_exact_loss": loss, "exact_objective": loss + penalty, "fresh_exact_loss": fresh_loss}
    if population:
        losses["population_loss"] = risk.mixture_loss(weights, world.truth, noise_std=noise_std)
    return losses


def _at_points(weights: Weights, clean: Array, y: Array, output: Array, empirical: Array, truth: Array) -> Any:
    """At every noisy point: loss, squared distances to both reference denoisers, spikiness (NaN where h = 0)."""
    scores = spikiness(represent(weights, y))
    return {
        "loss": _square(output - clean),
        "distance_to_empirical": _square(output - empirical),
        "distance_to_truth": _square(output - truth),
        "std": scores.std,
        "participation_ratio": scores.participation_ratio,
        "max_share": scores.max_share,
        "silent": jnp.isnan(scores.max_share).astype(output.dtype),
    }


def _stored(weights: Weights, x: Array, distinct: Array) -> dict[str, Array]:
    """Number of merged neurons, the share of them that lies on a sample, the share of samples with such a neuron."""
    merged = merge_parallel(weights, 0.99)
    counted = alive(merged.weights)
    cosine = unit(x) @ unit(merged.weights.encoder.T).T
    cosine = jnp.where(distinct[:, None] & counted[None, :], cosine, -1)
    return {
        "neurons": jnp.sum(counted),
        "neurons_on_a_sample": jnp.sum(jnp.max(cosine, axis=0) > ALIGNED) / jnp.sum(counted),
        "stored_samples": jnp.sum(jnp.max(cosine, axis=1) > ALIGNED) / jnp.sum(distinct),
    }


def _memorized(generated: Array, fresh: Array, x: Array, distinct: Array) -> dict[str, Array]:
    """Rate of the d₁/d₂ rule on denoised fresh points, and its null: the rule on the fresh points themselves."""
    ratio = memorization.neighbours_among(jnp.concatenate([generated, fresh]), x, distinct).ratio
    fires = (ratio < memorization.THRESHOLD).astype(ratio.dtype)
    return {"memorized_rate": jnp.mean(fires[: len(generated)]), "memorized_null": jnp.mean(fires[len(generated) :])}


def _jacobians(
    weights: Weights,
    x: Array,
    labels: Array,
    share: Array,
    spectrum: theory.Spectrum,
    levels: dict[str, Array],
) -> dict[str, Array]:
    """Relative distances of the net's Jacobian from the memorizing one, (9), and from its component's filter, (8).

    `share` is that of each sample x among the training rows, m/n where it stands there m times.
    """
    spiky = theory.gain(jnp.sum(x**2, axis=1), share, **levels)
    balanced = theory.gain(spectrum.eigenvalues, spectrum.proportions[:, None], **levels)
    return {
        "error_against_spiky": jacobian_error(weights, x, unit(x)[:, :, None], spiky[:, None]),
        "error_against_balanced": jacobian_error(weights, x, spectrum.directions[labels], balanced[labels]),
    }


def _square(error: Array) -> Array:
    return jnp.sum(error**2, axis=-1)


def _polished(
    weights: Weights, rows: TrainingRows, noise_std: Array, weight_decay: Array, steps: int
) -> tuple[Weights, dict[str, Array]]:
    """What L-BFGS on the exact objective (6) leads to, and how that ended."""
    numbers = {"noise_std": noise_std, "weight_decay": weight_decay, "samples": rows.samples}
    ended = certify.polish(weights, rows.x, **numbers, tolerance=POLISHED, max_steps=steps, newton_steps=0)
    told = {"polished": ended.converged, "gradient_norm": ended.gradient_norm, "polish_steps": ended.steps}
    return ended.weights, told
