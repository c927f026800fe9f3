"""Claims of comparing and scoring: symmetries, conventions, spikiness, the memorization rule, AUROC, steering (11)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from dae_theory import data, memorization, noise, theory
from dae_theory.detection.roc import auroc, threshold_at_fpr, tpr_at_fpr
from dae_theory.model import Weights, denoise, represent
from dae_theory.randomness import derive
from dae_theory.representation import Spikiness, spikiness
from dae_theory.steering import mean_representation, response_curve, steered_denoiser
from dae_theory.symmetry import balance, match, merge_parallel
from dae_theory.training import Settings, train
from sims.claims.claim import (
    ACCURACY,
    DIMENSION,
    STANDARD_ERRORS,
    WIDTH,
    Claim,
    Problem,
    bounded,
    draw,
    estimated,
    exact,
    sampled,
    stack,
    unstack,
)

SAMPLES, RADIUS = 5, 3.0
DIMENSIONS = (2, 3, 6)  # in which the memorization rule's null rate is measured
TRAINING = 32  # points a training set of it


def claims(config: Any, root: jax.Array) -> list[Claim]:
    """All rows of this file."""
    key = derive(root, "scores")
    return [
        *_symmetries(key),
        *_conventions(key),
        *_spikiness(key),
        *_null_rates(key, config.trials),
        *_ranking(key),
        *_steering(key),
        *_trained(key, config),
    ]


def _symmetries(key: Any) -> list[Claim]:
    """§6 and erratum 5: what leaves f and (6) unchanged."""
    weights = unstack(draw(key, "net").standard_normal((2, DIMENSION, SAMPLES)) / 2)
    y = jnp.asarray(draw(key, "inputs").standard_normal((50, DIMENSION)))
    values, order = stack(weights), np.asarray([3, 0, 4, 1, 2])
    scaled = values * np.asarray([1 / 3, 3])[:, None, None]

    def split(values: np.ndarray) -> np.ndarray:
        """Neuron 0 as two parallel ones, with squares 0.36 and 0.64 of its own."""
        return np.concatenate([0.6 * values[:, :, :1], values[:, :, 1:], 0.8 * values[:, :, :1]], axis=2)

    x = data.simplex_means(derive(key, "simplex"), dimension=DIMENSION, components=SAMPLES, radius=RADIUS)
    problem = Problem(np.asarray(x), 0.05, 0.01)
    reference = theory.memorizing_weights(x, **problem.numbers)
    several = unstack(split(stack(reference)))
    same = abs(problem.loss(several) - problem.loss(reference)) <= ACCURACY and problem.steepness(several) <= ACCURACY
    live = np.sum(np.linalg.norm(several.encoder, axis=0) > 0) if same else np.nan

    gradient = problem.gradient(weights)
    pairing = np.sum(gradient * values, axis=1)
    lengths = np.sum(values**2, axis=1)
    out = denoise(weights, y)
    return [
        exact("§6", "permuting neurons leaves f unchanged", out, denoise(unstack(values[:, :, order]), y)),
        exact("§6", "(w1, w2) → (c w1, w2/c) leaves f unchanged", out, denoise(unstack(scaled), y)),
        exact("§6", "balancing leaves f unchanged", out, denoise(balance(weights), y)),
        exact("§6", "⟨w1, ∂L/∂w1⟩ − ⟨w2, ∂L/∂w2⟩ = 2λ(‖w1‖² − ‖w2‖²): stationary points are balanced",
              2 * problem.weight_decay * (lengths[1] - lengths[0]), pairing[1] - pairing[0], size=RADIUS**2),
        exact("§4.5", "parallel neurons c_kŵ act as one of length √Σc²", out, denoise(unstack(split(values)), y)),
        Claim("§4.5", "erratum 5: columns of a stationary point with the objective of (9); printed: n and zeros", WIDTH,
              float(live), 0.0, printed=SAMPLES),
        exact("§4.5", "distance to (9) after merging and matching", 0,
              match(merge_parallel(several).weights, reference).distance),
    ]  # fmt: skip


def _conventions(key: Any) -> list[Claim]:
    """§7."""
    dimension, coupled = 7, 1e-2
    x = jnp.asarray(draw(key, "batch").standard_normal((20, dimension)))
    y = noise.corrupt(derive(key, "corrupt"), x, 0.3)
    weights = unstack(draw(key, "small").standard_normal((2, dimension, 4)))
    decay = noise.weight_decay_from_optimizer(coupled, dimension)

    def mean_square(weights: Weights) -> jax.Array:
        return jnp.mean((denoise(weights, y) - x) ** 2)

    def objective(weights: Weights) -> jax.Array:
        penalty = jnp.sum(weights.encoder**2) + jnp.sum(weights.decoder**2)
        return jnp.mean(jnp.sum((denoise(weights, y) - x) ** 2, axis=1)) + decay * penalty

    optimizer = stack(jax.grad(mean_square)(weights)) + coupled * stack(weights)
    bars = jnp.asarray([0.99, 0.5, 0.01])
    signal, spread = jnp.sqrt(bars), jnp.sqrt(1 - bars)
    return [
        exact("§7", "λ = weight_decay·d/2: gradient an optimizer's coupled L2 follows, times d",
              stack(jax.grad(objective)(weights)), dimension * optimizer),
        exact("§7", "d = 1024: weight decay 1e-2 and 1e-4 are λ = 5.12 and 0.0512", [5.12, 0.0512],
              [noise.weight_decay_from_optimizer(value, 1024) for value in (1e-2, 1e-4)]),
        exact("§7", "σ_t = √((1−ᾱ)/ᾱ): noise over signal of y = √ᾱ x + √(1−ᾱ) ε", spread / signal,
              noise.std_from_alpha_bar(bars)),
    ]  # fmt: skip


def _spikiness(key: Any) -> list[Claim]:
    """§8 and erratum 6: values at the extremes, and which score is free of scale."""
    p = 8
    h = jnp.asarray(draw(key, "hidden").exponential(size=(20, p)))
    rows = np.asarray(h)
    one_hot, flat = spikiness(jnp.eye(p)[0]), spikiness(jnp.ones(p))
    scores, doubled = spikiness(h), spikiness(2 * h)
    fourth = np.sum(rows**4, axis=1)
    free = ("l4_over_l2", "kurtosis", "participation_ratio", "gini", "max_share")

    def values(of: Spikiness) -> np.ndarray:
        return np.stack([np.asarray(getattr(of, name)) for name in free])

    pairs = np.abs(rows[:, :, None] - rows[:, None, :])
    return [
        exact("§8", "participation ratio 1 for one-hot, p for flat", [1, p],
              [one_hot.participation_ratio, flat.participation_ratio]),
        exact("§8", "participation ratio (Σh²)²/Σh⁴", np.sum(rows**2, axis=1) ** 2 / fourth,
              scores.participation_ratio),
        exact("§8", "‖h‖₄/‖h‖₂", fourth**0.25 / np.linalg.norm(rows, axis=1), scores.l4_over_l2),
        exact("§8", "excess kurtosis", scipy.stats.kurtosis(rows, axis=1), scores.kurtosis),
        exact("§8", "Gini, mean difference of all pairs over twice the mean",
              pairs.mean(axis=(1, 2)) / (2 * rows.mean(axis=1)), scores.gini),
        exact("§8", "max share max h²/Σh²", rows.max(axis=1) ** 2 / np.sum(rows**2, axis=1), scores.max_share),
        exact("§7", "std over neurons is the population's, ddof = 0", rows.std(axis=1), scores.std),
        exact("§4.6", "erratum 6: std is not free of scale: h → 2h doubles it; printed: a score of spikiness", 2.0,
              np.mean(doubled.std / scores.std), printed=1.0),
        exact("§4.6", "the other five scores are unchanged by h → 2h", values(scores), values(doubled)),
    ]  # fmt: skip


def _null_rates(key: Any, trials: int) -> list[Claim]:
    """§8: d₁/d₂ < 1/3 fires on fresh samples at the rate 3^−r: a test point amid uniform training points of a ball."""

    everywhere, origin = jnp.ones(TRAINING, dtype=bool), jnp.zeros((1, max(DIMENSIONS)))
    ratio = jax.jit(jax.vmap(lambda points: memorization.neighbours_among(origin, points, everywhere).ratio[0]))
    rows = []
    for dimension in DIMENSIONS:
        generator = draw(key, "null", dimension)
        # a ball of fewer dimensions lies in a subspace
        points = np.zeros((trials, TRAINING, max(DIMENSIONS)))
        points[:, :, :dimension] = generator.standard_normal((trials, TRAINING, dimension))
        points *= (
            generator.uniform(size=(trials, TRAINING, 1)) ** (1 / dimension)
            / np.linalg.norm(points, axis=2)[:, :, None]
        )
        ratios = np.asarray(ratio(jnp.asarray(points)))
        expected = memorization.null_rate(dimension)
        fires = ratios < memorization.THRESHOLD
        # the binomial's own standard error: a sample's is 0 when the rule never fires
        sem = np.sqrt(expected * (1 - expected) / trials)
        rows.append(estimated("§8", f"null rate of d₁/d₂ < 1/3 is 3^−r, r = {dimension}", expected, fires.mean(), sem))
        rows.append(
            sampled(
                "§8", f"(d₁/d₂)^r is uniform: mean of its square, r = {dimension}", 1 / 3, ratios ** (2 * dimension)
            )
        )
    return rows


def _ranking(key: Any) -> list[Claim]:
    """§8: AUROC and TPR at 1 % FPR on scores with ties."""
    scores = np.round(draw(key, "ranking").standard_normal((2, 300)), 1)
    positive, negative = scores[0] - 0.5, scores[1]
    above = positive[:, None] - negative[None, :]
    counted = np.mean(above > 0) + np.mean(above == 0) / 2
    threshold = threshold_at_fpr(negative)
    return [
        exact("§8", "AUROC counts ties ½, and is not flipped below ½", counted, auroc(positive, negative)),
        exact("§8", "exchanging the classes gives 1 − AUROC", 1 - counted, auroc(negative, positive)),
        bounded("§8", "false positives at the 0.99 quantile of the negatives", np.mean(negative > threshold), "≤",
                0.01),
        exact("§8", "TPR at 1 % FPR: share above that quantile", np.mean(positive > threshold),
              tpr_at_fpr(positive, negative)),
    ]  # fmt: skip


def _steering(key: Any) -> list[Claim]:
    """(11): affine in the strength, so one application of a denoiser cannot jump."""
    weights = unstack(draw(key, "steered").standard_normal((2, DIMENSION, WIDTH)))
    y, target = jnp.asarray(draw(key, "steering").standard_normal((2, 50, DIMENSION)))
    v = mean_representation(weights, target)
    steered = steered_denoiser(weights, v, 0.7)(y)
    direct = (
        np.asarray(represent(weights, y)) + 0.7 * np.asarray(represent(weights, target)).mean(axis=0)
    ) @ np.asarray(weights.decoder).T
    response = response_curve(lambda a: steered_denoiser(weights, v, a)(y), target[0], jnp.linspace(0.0, 2.0, 11))
    return [
        exact("(11)", "f_steered(y) = W2(h(y) + a v), v the mean representation of the targets", direct, steered),
        exact("(11)", "one application is affine in a: largest of 10 steps of the path, as a share", 0.1,
              response.largest_step),
    ]  # fmt: skip


def _trained(key: Any, config: Any) -> list[Claim]:
    """Errata 5 and 6 in trained nets: parallel copies, and a std that is blind where other scores see."""
    dimension, width, rank, clusters = 32, 64, 4, 4
    many, few = 2048, 4
    simplex = data.simplex_means(derive(key, "five"), dimension=DIMENSION, components=SAMPLES, radius=RADIUS)
    mixture = data.simplex_mixture(
        derive(key, "components"),
        dimension=dimension,
        components=clusters,
        radius=RADIUS,
        rank=rank,
        spread=1.0,
        clean=True,
    )
    rows = mixture.sample_balanced(derive(key, "samples"), many // clusters).x
    five = jnp.pad(simplex, ((0, many - SAMPLES), (0, dimension - DIMENSION)))
    settings = Settings(
        noise_std=0.2, weight_decay=0.02, learning_rate=1e-2, steps=config.steps, width=width, batch_size=128
    )

    def member(seed: Any, problem: Any) -> Any:
        x = jnp.where(problem == 0, five, rows).astype(jnp.float32)
        samples = jnp.asarray([SAMPLES, few, many])[problem]
        weights = train(derive(key, "net", problem, seed), x, settings, samples=samples).weights
        merged = merge_parallel(weights)
        lengths = jnp.linalg.norm(weights.encoder, axis=0) * jnp.linalg.norm(weights.decoder, axis=0)
        index = jnp.arange(256) % samples
        y = noise.corrupt(derive(key, "seen", seed), x[index], 0.2)
        scores, distinct = spikiness(represent(weights, y)), spikiness(represent(merged.weights, y))
        return {
            "columns": jnp.sum(lengths > 1e-4 * jnp.max(lengths)),
            "merged": merged.live,
            "std": jnp.mean(scores.std),
            "participation": jnp.nanmean(scores.participation_ratio),
            "of merged": jnp.nanmean(distinct.participation_ratio),
        }

    seeds = jnp.arange(config.seeds)
    run = jax.jit(jax.vmap(jax.vmap(member, (0, None)), (None, 0)))
    measured = {name: np.asarray(value, float) for name, value in run(seeds, jnp.arange(3)).items()}
    columns, merged = (measured[name][0] for name in ("columns", "merged"))
    scores = {name: measured[name][1:] for name in ("std", "participation", "of merged")}
    change = {name: np.abs(np.log(values[1] / values[0])) for name, values in scores.items()}
    rise = scores["of merged"][1] - scores["of merged"][0]
    sharper = change["of merged"] - change["std"]
    told = ", ".join(f"{name} {values[0].mean():.3g} and {values[1].mean():.3g}" for name, values in scores.items())
    return [
        bounded("§4.5", f"trained, simplex n = {SAMPLES}, p = {width}: columns before merging exceed n, by 5 SEM",
                columns.mean(), "≥", SAMPLES, **_beyond(columns)),
        bounded("§4.5", "the same nets after merging: fewer neurons, by 5 SEM", (columns - merged).mean(), "≥", 0,
                **_beyond(columns - merged)),
        bounded("§4.6", f"trained on {few} and on {many} samples: {told}; the last rises, by 5 SEM", rise.mean(), "≥",
                0, **_beyond(rise)),
        bounded("§4.6", "the same nets: |log ratio| of the last less that of the std, by 5 SEM", sharper.mean(), "≥", 0,
                **_beyond(sharper)),
    ]  # fmt: skip


def _beyond(draws: np.ndarray) -> dict[str, float]:
    """An inequality that has to hold by five standard errors."""
    sem = float(draws.std(ddof=1) / np.sqrt(draws.size))
    return {"sem": sem, "tolerance": -STANDARD_ERRORS * sem}
