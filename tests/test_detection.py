"""Detection: rank statistics against their definitions, intervals against Monte Carlo, detectors."""

import jax
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from sklearn.utils.estimator_checks import check_estimator

from dae_theory import detection

SHAPE = (120, 12)


@pytest.fixture
def rng():
    return np.random.default_rng(13)


def _spiky_and_balanced(rng, gain_spread=1.0):
    """Half of the rows one-hot, half spread over all neurons, with random gains; labels True for one-hot."""
    memorized = np.arange(SHAPE[0]) % 2 == 0
    h = np.where(memorized[:, None], np.eye(SHAPE[1])[rng.integers(0, SHAPE[1], SHAPE[0])], 1 / np.sqrt(SHAPE[1]))
    h = h + 0.05 * rng.random(SHAPE)
    return h * np.exp(gain_spread * rng.standard_normal((SHAPE[0], 1))), memorized


def test_auroc_is_the_probability_of_the_right_order(rng):
    positive, negative = rng.integers(0, 6, 40), rng.integers(0, 5, 70)  # many ties
    pairs = np.sign(positive[:, None] - negative[None, :])
    np.testing.assert_allclose(detection.auroc(positive, negative), np.mean((pairs + 1) / 2), rtol=1e-14)
    labels, scores = np.repeat([1, 0], [40, 70]), np.concatenate([positive, negative])
    np.testing.assert_allclose(
        detection.auroc(positive, negative), sklearn.metrics.roc_auc_score(labels, scores), rtol=1e-13
    )
    np.testing.assert_allclose(detection.auroc(positive, negative) + detection.auroc(negative, positive), 1, rtol=1e-14)
    np.testing.assert_allclose(detection.auroc(np.exp(positive), np.exp(negative)), np.mean((pairs + 1) / 2))
    assert detection.auroc([0.0, 1.0], [2.0, 3.0]) == 0  # never flipped
    assert detection.auroc([1.0], [1.0, 1.0]) == 0.5
    assert detection.auroc([np.inf], [1.0]) == 1


def test_auroc_of_two_gaussians(rng):
    shift = 1.2
    positive, negative = shift + rng.standard_normal((200, 50)), rng.standard_normal((200, 80))
    values = detection.auroc(positive, negative)
    assert values.shape == (200,)
    assert abs(values.mean() - scipy.stats.norm.cdf(shift / np.sqrt(2))) <= 5 * scipy.stats.sem(values)


@pytest.mark.parametrize("count", [5, 99, 100, 101, 1000])
def test_the_threshold_costs_no_more_than_it_says(rng, count):
    negative = rng.standard_normal(count)
    threshold = detection.threshold_at_fpr(negative, 0.01)
    assert threshold in negative
    assert np.mean(negative > threshold) <= 0.01
    if count <= 100:
        assert threshold == negative.max()


def test_tpr_at_fpr_of_two_gaussians(rng):
    """Φ(Δ − z_{0.99}) for many samples; the threshold's own fluctuation has error √(q(1−q)/n)/φ(z)."""
    shift, n = 2.0, 40_000
    value = detection.tpr_at_fpr(shift + rng.standard_normal(n), rng.standard_normal(n))
    z = scipy.stats.norm.ppf(0.99)
    expected, slope = scipy.stats.norm.cdf(shift - z), scipy.stats.norm.pdf(shift - z)
    error = np.hypot(np.sqrt(expected * (1 - expected) / n), slope * np.sqrt(0.01 * 0.99 / n) / scipy.stats.norm.pdf(z))
    assert abs(value - expected) <= 5 * error
    assert detection.tpr_at_fpr([1.0, 2.0, 3.0, 4.0], [0.0, 2.0]) == 0.5  # only scores above the maximum fire


def test_delong_is_its_definition_and_the_spread_of_many_experiments(rng):
    """Its standard error from all pairs; its mean square is the variance of AUROC over 2000 experiments."""
    positive, negative = rng.integers(0, 5, 30) + 1.0, rng.integers(0, 5, 20) + 0.0
    order = (np.sign(positive[:, None] - negative[None, :]) + 1) / 2
    variance = order.mean(axis=1).var(ddof=1) / 30 + order.mean(axis=0).var(ddof=1) / 20
    interval = detection.delong_interval(positive, negative)
    np.testing.assert_allclose(interval.estimate, order.mean(), rtol=1e-13)
    np.testing.assert_allclose(interval.standard_error, np.sqrt(variance), rtol=1e-12)
    assert 0 < interval.low < interval.estimate < interval.high < 1

    repeats = 2000
    intervals = [
        detection.delong_interval(1 + rng.standard_normal(30), rng.standard_normal(40)) for _ in range(repeats)
    ]
    areas = np.array([interval.estimate for interval in intervals])
    squares = np.array([interval.standard_error**2 for interval in intervals])
    error = np.hypot(scipy.stats.sem(squares), areas.var(ddof=1) * np.sqrt(2 / repeats))
    assert abs(squares.mean() - areas.var(ddof=1)) <= 5 * error
    truth = scipy.stats.norm.cdf(1 / np.sqrt(2))
    covered = np.mean([interval.low <= truth <= interval.high for interval in intervals])
    assert abs(covered - 0.95) <= 5 * np.sqrt(0.95 * 0.05 / repeats)


def test_delong_difference_knows_that_the_samples_are_the_same(rng):
    base = rng.standard_normal(300)
    first = (1 + base[:150] + 0.1 * rng.standard_normal(150), base[150:] + 0.1 * rng.standard_normal(150))
    second = (1 + base[:150] + 0.1 * rng.standard_normal(150), base[150:] + 0.1 * rng.standard_normal(150))
    same = detection.delong_difference(first, first)
    assert (same.estimate, same.standard_error) == (0, 0)
    paired = detection.delong_difference(first, second)
    np.testing.assert_allclose(paired.estimate, detection.auroc(*first) - detection.auroc(*second), atol=1e-14)
    alone = detection.delong_interval(*first).standard_error
    assert paired.standard_error < 0.5 * alone
    assert abs(paired.estimate) <= 5 * paired.standard_error


def test_bootstrap_agrees_with_delong(rng, key):
    """Their standard errors: 1/√(2·resamples) of sampling error each way, and 1/m of the bootstrap's own bias."""
    positive, negative = 1 + rng.standard_normal(200), rng.standard_normal(200)
    bootstrap = detection.bootstrap_interval(key, positive, negative, resamples=2000)
    delong = detection.delong_interval(positive, negative)
    assert bootstrap.estimate == pytest.approx(delong.estimate, rel=1e-13)
    assert abs(bootstrap.standard_error / delong.standard_error - 1) <= 5 / np.sqrt(2 * 2000) + 1 / 200
    assert bootstrap.low < bootstrap.estimate < bootstrap.high


def test_bootstrap_is_a_function_of_its_key_and_of_any_statistic(rng):
    positive, negative = 1 + rng.standard_normal(60), rng.standard_normal(60)
    first, again, other = (
        detection.bootstrap_interval(jax.random.key(seed), positive, negative, detection.tpr_at_fpr, resamples=200)
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first.standard_error != other.standard_error
    perfect = detection.bootstrap_interval(jax.random.key(2), [2.0, 3.0], [0.0, 1.0], resamples=50)
    assert (perfect.low, perfect.high) == (1, 1)


def _row_std(X):
    return np.std(np.asarray(X, dtype=float), axis=1)


@pytest.mark.parametrize(
    ("detector", "undefined"),
    [
        (detection.SpikinessDetector(_row_std), ()),
        (detection.CombinedDetector([_row_std, detection.input_norm]), ()),
        (detection.SpikinessDetector(), ("check_estimators_dtypes",)),
    ],
    ids=["any statistic", "combined", "scale-free"],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_estimator_checks(detector, undefined):
    reason = "its data hold a constant row, which has no scale-free score and is refused"
    check_estimator(detector, expected_failed_checks=dict.fromkeys(undefined, reason))


def test_a_detector_fires_above_its_threshold(rng):
    h, memorized = _spiky_and_balanced(rng)
    for detector in (detection.SpikinessDetector(fpr=0.1), detection.CombinedDetector(fpr=0.1)):
        detector.fit(h, np.where(memorized, "memorized", "fresh"))
        decision, predicted = detector.decision_function(h), detector.predict(h)
        np.testing.assert_array_equal(predicted == "memorized", decision > 0)
        assert np.mean(predicted[~memorized] == "memorized") <= 0.1
        assert detection.auroc(decision[memorized], decision[~memorized]) == 1
        silent = np.zeros((1, SHAPE[1]))
        assert np.isnan(detector.decision_function(silent)[0])
        assert detector.predict(silent)[0] == "fresh"


def test_detectors_refuse_undefined_scores_and_other_than_two_classes(rng, refused):
    h, memorized = _spiky_and_balanced(rng)
    h[3] = 0
    for detector in (detection.SpikinessDetector(), detection.CombinedDetector()):
        with refused("X"):
            detector.fit(h, memorized)
    with refused("y"):
        detection.SpikinessDetector(_row_std).fit(h, np.zeros(SHAPE[0], dtype=int))
    with refused("fpr"):
        detection.SpikinessDetector(_row_std, fpr=0.0).fit(h, memorized)


def test_refusals(rng, key, refused):
    with refused("positive"):
        detection.auroc([], [1.0])
    with refused("negative"):
        detection.auroc([1.0], [np.nan])
    for fpr in (0.0, 1.0):
        with refused("fpr"):
            detection.tpr_at_fpr([1.0], [1.0], fpr=fpr)
    with refused("positive"):
        detection.delong_interval([1.0], [1.0, 2.0])
    with refused("level"):
        detection.delong_interval([1.0, 2.0], [1.0, 2.0], level=95)
    with refused("second"):
        detection.delong_difference(([1.0, 2.0], [1.0, 2.0]), ([1.0], [1.0, 2.0]))
    with refused("resamples"):
        detection.bootstrap_interval(key, [1.0], [2.0], resamples=1)
    with refused("key"):
        detection.bootstrap_interval(jax.random.split(key), [1.0], [2.0])
    for number in (0, None, jax.random.PRNGKey(0)):
        with refused("key"):
            detection.bootstrap_interval(number, [1.0], [2.0])
    h, memorized = _spiky_and_balanced(rng)
    with refused("key"):
        detection.score_table(0, h, memorized)
    keys = iter(jax.random.split(jax.random.key(1), 4))
    with refused("memorized"):
        detection.score_table(next(keys), h, np.arange(SHAPE[0]))
    with refused("memorized"):
        detection.score_table(next(keys), h, np.arange(SHAPE[0]) < 1)
    with refused("fit"):
        detection.score_table(next(keys), h, memorized, fit=memorized)
    with refused("activations"):
        detection.score_table(next(keys), h[:, 0], memorized)
    with refused("denoised"):
        detection.denoising_loss(h, h[:, 1:])
