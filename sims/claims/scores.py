"""Claims of scoring: spikiness [X9], the memorization rule [X10], AUROC [X12], steering (11)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from dae_theory import memorization
from dae_theory.compare import Row
from dae_theory.detection.roc import auroc, threshold_at_fpr, tpr_at_fpr
from dae_theory.model import represent
from dae_theory.randomness import derive
from dae_theory.representation import Spikiness, spikiness
from dae_theory.steering import mean_representation, response_curve, steered_denoiser
from sims.claims.claim import (
    DIMENSION,
    WIDTH,
    bounded,
    draw,
    estimated,
    exact,
    sampled,
    unstack,
)

DIMENSIONS = (2, 3, 6)  # in which the memorization rule's null rate is measured
TRAINING = 32  # points a training set of it


def claims(config: Any, root: jax.Array) -> list[Row]:
    """All rows of this file."""
    key = derive(root, "scores")
    return [*_spikiness(key), *_null_rates(key, config.trials), *_ranking(key), *_steering(key)]


def _spikiness(key: Any) -> list[Row]:
    """[X9] and erratum 6: values at the extremes, and which score is free of scale."""
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
        exact(
            "[X9]",
            "participation ratio 1 for one-hot, p for flat",
            [1, p],
            [one_hot.participation_ratio, flat.participation_ratio],
        ),
        exact(
            "[X9]", "participation ratio (Σh²)²/Σh⁴", np.sum(rows**2, axis=1) ** 2 / fourth, scores.participation_ratio
        ),
        exact("[X9]", "‖h‖₄/‖h‖₂", fourth**0.25 / np.linalg.norm(rows, axis=1), scores.l4_over_l2),
        exact("[X9]", "excess kurtosis", scipy.stats.kurtosis(rows, axis=1), scores.kurtosis),
        exact(
            "[X9]",
            "Gini, mean difference of all pairs over twice the mean",
            pairs.mean(axis=(1, 2)) / (2 * rows.mean(axis=1)),
            scores.gini,
        ),
        exact("[X9]", "max share max h²/Σh²", rows.max(axis=1) ** 2 / np.sum(rows**2, axis=1), scores.max_share),
        exact("[X11]", "std over neurons is the population's, ddof = 0", rows.std(axis=1), scores.std),
        exact(
            "Table 1",
            "std is not free of scale: h → 2h doubles it; printed: a score of spikiness",
            2.0,
            np.mean(doubled.std / scores.std),
            printed=1.0,
            erratum=6,
        ),
        exact("Table 1", "the other five scores are unchanged by h → 2h", values(scores), values(doubled), erratum=6),
    ]


def _null_rates(key: Any, trials: int) -> list[Row]:
    """[X10]: d₁/d₂ < 1/3 fires on fresh samples at the rate 3^−r: a test point amid uniform points of a ball."""
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
        rows.append(
            estimated("[X10]", f"null rate of d₁/d₂ < 1/3 is 3^−r, r = {dimension}", expected, fires.mean(), sem)
        )
        rows.append(
            sampled(
                "[X10]", f"(d₁/d₂)^r is uniform: mean of its square, r = {dimension}", 1 / 3, ratios ** (2 * dimension)
            )
        )
    return rows


def _ranking(key: Any) -> list[Row]:
    """[X12]: AUROC and TPR at 1 % FPR on scores with ties."""
    scores = np.round(draw(key, "ranking").standard_normal((2, 300)), 1)
    positive, negative = scores[0] - 0.5, scores[1]
    above = positive[:, None] - negative[None, :]
    counted = np.mean(above > 0) + np.mean(above == 0) / 2
    threshold = threshold_at_fpr(negative)
    return [
        exact("[X12]", "AUROC counts ties ½, and is not flipped below ½", counted, auroc(positive, negative)),
        exact("[X12]", "exchanging the classes gives 1 − AUROC", 1 - counted, auroc(negative, positive)),
        bounded(
            "[X12]", "false positives at the 0.99 quantile of the negatives", np.mean(negative > threshold), "≤", 0.01
        ),
        exact(
            "[X12]",
            "TPR at 1 % FPR: share above that quantile",
            np.mean(positive > threshold),
            tpr_at_fpr(positive, negative),
        ),
    ]


def _steering(key: Any) -> list[Row]:
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
        exact(
            "(11)",
            "one application is affine in a: largest of 10 steps of the path, as a share",
            0.1,
            response.largest_step,
        ),
    ]
