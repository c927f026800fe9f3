"""One cell of a phase diagram: train one net on its world and measure everything about it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dae_theory import certify, memorization, risk, theory
from dae_theory.directions import unit
from dae_theory.model import Weights, denoise, represent
from dae_theory.randomness import derive
from dae_theory.representation import spikiness
from dae_theory.symmetry import alive, merge_parallel
from dae_theory.training import Settings, train
from sims.worlds.sources import World

ALIGNED = 0.95  # cosine from which on a neuron counts as lying on a sample
SLICE = 64  # training rows of one piece of an exact loss: a cell pays for the rows it has, not for the padding
POLISHED = 1e-8  # gradient norm at which polishing stops


def member(
    point: dict[str, Any],
    worlds: World,
    *,
    seed: int,
    settings: Settings,
    rows: int,
    evaluation: int,
    truth: Callable,
    population: bool,
    polish: int,
) -> dict[str, Any]:
    """Observables of one net.

    Args:
        point: world (index), identity, n, p, sigma, lambda, copies.
        worlds: stacked worlds of one dimension.
        seed: root of the nets' randomness.
        settings: of training; σ, λ come from the point, the width is that of the bucket.
        rows: static bound on the number of training rows, copies included.
        evaluation: noisy points behind every mean.
        truth: (world's truth, σ) -> f_gt.
        population: the world's truth is the mixture that its samples come from, so that the test loss closes.
        polish: steps of L-BFGS on the exact objective after training; everything is measured on what they lead to.
    """
    world = jax.tree.map(lambda field: field[point["world"]], worlds)
    key = derive(jax.random.key(seed), "member", point["identity"])
    copies = point["copies"]
    row = jnp.arange(rows)
    source_row = jnp.maximum(row - (copies - 1), 0)
    x = world.pool[source_row]
    samples = point["n"] + copies - 1
    settings = replace(settings, noise_std=point["sigma"], weight_decay=point["lambda"])
    trained = train(key, x, settings, samples=samples, neurons=point["p"])
    weights = jax.tree.map(lambda w: w.astype(jnp.float64), trained.weights)
    x, sigma, decay = (jnp.asarray(value, jnp.float64) for value in (x, point["sigma"], point["lambda"]))

    measured = {"train_objective": trained.history.loss[-1].astype(jnp.float64), "finite": trained.finite}
    if polish:
        numbers = {"noise_std": sigma, "weight_decay": decay, "samples": samples}
        ended = certify.polish(weights, x, **numbers, tolerance=POLISHED, max_steps=polish, newton_steps=0)
        weights = ended.weights
        measured |= {"polished": ended.converged, "gradient_norm": ended.gradient_norm, "polish_steps": ended.steps}
    measured |= _exact(weights, x, samples, sigma, decay, world, population)

    live = row < samples
    distinct = live & ((row == 0) | (row >= copies))
    picked = jnp.arange(evaluation) % samples
    labels = world.labels[source_row][picked]
    clean = jnp.concatenate([x[picked], world.fresh])
    y = clean + sigma * jax.random.normal(derive(key, "evaluation"), clean.shape, clean.dtype)
    output = denoise(weights, y)
    kind = jnp.repeat(jnp.arange(2), jnp.asarray([evaluation, len(world.fresh)]), total_repeat_length=len(clean))
    per_point = _at_points(
        weights, clean, y, output, theory.empirical_denoiser(x, sigma, samples=samples)(y), truth(world.truth, sigma)(y)
    )
    for number, name in enumerate(("train", "test")):
        measured |= {f"{name}_{key}": jnp.nanmean(values, where=kind == number) for key, values in per_point.items()}
        to_truth, to_empirical = (measured[f"{name}_distance_to_{other}"] for other in ("truth", "empirical"))
        measured[f"{name}_index"] = to_truth / (to_truth + to_empirical)
    measured |= _stored(weights, x, distinct)
    measured |= _memorized(output[evaluation:], world.fresh, x, distinct)
    spectrum = world.spectrum
    levels = {"ridge": sigma**2, "weight_decay": decay}
    gains = theory.gain(spectrum.eigenvalues, spectrum.proportions[:, None], **levels)
    few = slice(None, 32)
    squares = jnp.sum(x[picked][few] ** 2, axis=1)
    return measured | {
        "error_against_spiky": jacobian_error(
            weights,
            x[picked][few],
            unit(x[picked][few])[:, :, None],
            theory.gain(squares, 1 / samples.astype(x.dtype), **levels)[:, None],
        ),
        "error_against_balanced": jacobian_error(
            weights, x[picked][few], spectrum.directions[labels[few]], gains[labels[few]]
        ),
    }


def _exact(
    weights: Weights, x: Array, samples: Array, sigma: Array, decay: Array, world: World, population: bool
) -> dict[str, Array]:
    """Losses with the noise integrated in closed form: (6) and its data term on the training rows, the data term on
    fresh points, and the test loss of the population where that is a mixture.
    """
    padded = jnp.pad(x, ((0, -len(x) % SLICE), (0, 0)))
    none = jnp.zeros_like(decay)

    def add(piece: Array, total: Array) -> Array:
        start = piece * SLICE
        counts = start + jnp.arange(SLICE) < samples
        share = jnp.where(counts, 1 / samples.astype(x.dtype), 0)
        return total + risk.shared_loss(weights, jax.lax.dynamic_slice_in_dim(padded, start, SLICE), sigma, none, share)

    loss = jax.lax.fori_loop(0, (samples + SLICE - 1) // SLICE, add, none)
    losses = {
        "train_exact_loss": loss,
        "exact_objective": loss + decay * (jnp.sum(weights.encoder**2) + jnp.sum(weights.decoder**2)),
        "fresh_exact_loss": risk.expected_loss(weights, world.fresh, noise_std=sigma, weight_decay=0.0),
    }
    if population:
        losses["population_loss"] = risk.mixture_loss(weights, world.truth, noise_std=sigma)
    return losses


def jacobian_error(
    weights: Weights, x: Float[Array, "m d"], directions: Float[Array, "m d r"], gains: Float[Array, "m r"]
) -> Float[Array, ""]:
    """Mean over samples of ‖J(x_i) − P_i‖_F/‖P_i‖_F, with P_i = U_i diag(a_i) U_iᵀ the Jacobian that theory predicts.

    Free of rotations and splits of neurons. Memorizing: P_i = a x̂_ix̂_iᵀ; generalizing: the filter of x_i's cluster.
    Where theory predicts P_i = 0 (all directions decayed) there is no relative error: NaN.
    """
    inner = (weights.decoder.T @ weights.decoder) * (weights.encoder.T @ weights.encoder)

    def one(x: Array, directions: Array, gains: Array) -> tuple[Array, Array]:
        gate = (x @ weights.encoder > 0).astype(x.dtype)
        overlap = (directions.T @ weights.decoder * gate[None, :] * (directions.T @ weights.encoder)).sum(axis=1)
        predicted = jnp.sum(gains**2)
        return gate @ inner @ gate - 2 * gains @ overlap + predicted, predicted

    square, predicted = jax.vmap(one)(x, directions, gains)
    return jnp.mean(jnp.sqrt(jnp.maximum(square, 0) / predicted))


def _at_points(weights: Weights, clean, y, output, empirical, truth) -> dict[str, Array]:
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
    """Merged neurons, how many of them lie on a sample, and how many samples have such a neuron."""
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


def _square(error: Array) -> Array:
    return jnp.sum(error**2, axis=-1)
