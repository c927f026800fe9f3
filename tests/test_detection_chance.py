"""Against false alarms: covariances by sample and by group, intervals of a whole table, baselines, few positives."""

import itertools

import jax
import numpy as np
import pytest
import scipy.special
import scipy.stats

from dae_theory import detection
from dae_theory.detection import permuted


@pytest.fixture
def rng():
    return np.random.default_rng(29)


def _grouped(rng, groups, per, scores, within=0.8):
    """Scores (c, n) that are alike within groups, with the group of each sample; labels at random by group."""
    of = np.repeat(np.arange(groups), per)
    values = np.sqrt(within) * rng.standard_normal((scores, groups))[:, of]
    values = values + np.sqrt(1 - within) * rng.standard_normal((scores, of.size))
    return values, of, (rng.permutation(groups) < groups // 2)[of]


def test_the_covariance_is_delongs_where_every_sample_is_its_own_group(rng):
    labels = np.arange(50) < 20
    scores = np.stack([rng.integers(0, 6, 50) + 2.0 * labels, rng.standard_normal(50) + labels])
    found = detection.areas(scores, labels)
    for row in range(2):
        single = detection.delong_interval(scores[row, labels], scores[row, ~labels])
        np.testing.assert_allclose(found.estimates[row], single.estimate, rtol=1e-13)
        np.testing.assert_allclose(found.standard_errors[row], single.standard_error, rtol=1e-12)
    pairs = [(scores[row, labels], scores[row, ~labels]) for row in range(2)]
    paired, ours = detection.delong_difference(*pairs), found.difference(0, 1)
    np.testing.assert_allclose(
        (ours.estimate, ours.standard_error), (paired.estimate, paired.standard_error), rtol=1e-12
    )
    same = detection.areas(scores, labels, groups=np.arange(50))
    np.testing.assert_allclose(same.covariance, found.covariance, rtol=1e-13)


def test_copies_add_nothing_where_groups_say_so(rng):
    """Every sample four times: with groups the same standard error (exactly), without half of it."""
    scores, labels = rng.standard_normal((1, 60)), np.arange(60) < 20
    once = detection.areas(scores, labels)
    four, four_labels, groups = np.repeat(scores, 4, axis=1), np.repeat(labels, 4), np.repeat(np.arange(60), 4)
    grouped = detection.areas(four, four_labels, groups=groups)
    np.testing.assert_allclose(grouped.estimates, once.estimates, rtol=1e-13)
    np.testing.assert_allclose(grouped.standard_errors, once.standard_errors, rtol=1e-12)
    assert grouped.counts == (20, 40)
    np.testing.assert_allclose(detection.areas(four, four_labels).standard_errors, once.standard_errors / 2, rtol=0.03)


def test_the_grouped_variance_is_the_spread_of_many_experiments(rng):
    repeats, areas, squares = 600, [], []
    for _ in range(repeats):
        scores, groups, labels = _grouped(rng, 24, 3, 1)
        found = detection.areas(scores, labels, groups=groups)
        areas.append(found.estimates[0])
        squares.append(found.standard_errors[0] ** 2)
    error = np.hypot(scipy.stats.sem(squares), np.var(areas, ddof=1) * np.sqrt(2 / repeats))
    assert abs(np.mean(squares) - np.var(areas, ddof=1)) <= 5 * error


@pytest.mark.parametrize("per", [1, 3], ids=["by sample", "by group"])
def test_random_labels_alarm_as_rarely_as_stated(rng, per):
    """Single 95 % intervals cover ½; at most 5 % of tables of ten rows alarm, within what 200 tables can tell."""
    repeats, rows, covered, alarms = 200, 10, 0, 0
    for repeat in range(repeats):
        scores, groups, labels = _grouped(rng, 80, per, rows)
        found = detection.areas(scores, labels, groups=groups)
        level = detection.bootstrap_level(jax.random.key(repeat), found.influence, resamples=500)
        assert 0.95 < level < 1
        intervals = [found.interval(row, level=level) for row in range(rows)]
        single = found.interval(0)
        covered += single.low <= 0.5 <= single.high
        alarms += any(not interval.low <= 0.5 <= interval.high for interval in intervals)
    error = np.sqrt(0.05 * 0.95 / repeats)
    assert abs(covered / repeats - 0.95) <= 4 * error
    assert alarms / repeats <= 0.05 + 3 * error


def test_scores_that_rank_alike_cost_nothing_and_independent_ones_bonferroni(rng):
    labels = np.arange(400) < 200
    one = rng.standard_normal((1, 400))
    same = detection.areas(np.repeat(one, 20, axis=0), labels)
    key, other = jax.random.split(jax.random.key(0))
    resamples = 4000
    error = np.sqrt(0.95 * 0.05 / resamples)
    assert abs(detection.bootstrap_level(key, same.influence, resamples=resamples) - 0.95) <= 5 * error
    many = detection.areas(rng.standard_normal((20, 400)), labels)
    level = detection.bootstrap_level(other, many.influence, resamples=resamples)
    assert abs((1 - level) * 20 - 0.05) <= 0.05 * 5 * error / 0.05 + 0.005


def test_a_handful_of_positives_is_judged_by_permutation(rng):
    """Of permuted tables exactly the stated share alarms, whatever the standard errors are worth."""
    labels = np.arange(30) < 3
    scores = rng.standard_normal((6, 30))
    first, second = jax.random.split(jax.random.key(1))
    level = detection.permutation_level(first, scores, labels, permutations=300)
    assert level >= 0.95
    alarms = [
        np.min(detection.areas(scores, labels[order]).chance()) < 1 - level
        for order in np.asarray(jax.vmap(lambda k: jax.random.permutation(k, 30))(jax.random.split(second, 300)))
    ]
    assert np.mean(alarms) <= 0.05 + 5 * np.sqrt(0.05 * 0.95 * 2 / 300)
    mixed = detection.permutation_level(jax.random.key(2), scores, labels, groups=np.arange(30) // 2)
    assert mixed == 0.95  # a group with both labels: nothing to permute


@pytest.mark.parametrize("per", [1, 3], ids=["by sample", "by group"])
def test_permuted_labels_give_the_areas_of_each_labelling(rng, per):
    """The vectorized AUROCs, influences and probabilities are those of `areas`, with ties and groups of any size."""
    scores, groups, labels = _grouped(rng, 15, per, 4)
    keep = rng.random(groups.size) < 0.9 if per > 1 else np.ones(groups.size, dtype=bool)
    scores, groups, labels = np.round(scores[:, keep], 1), np.unique(groups[keep], return_inverse=True)[1], labels[keep]
    kinds = np.zeros((5, groups.max() + 1), dtype=bool)
    for row in kinds:
        row[rng.permutation(row.size)[:5]] = True
    found = permuted.permuted_areas(scores, kinds, groups)
    alone, gaps = permuted.chance(found), permuted.chance_of_difference(found)
    for number, kind in enumerate(kinds):
        one = detection.areas(scores, kind[groups], groups=groups)
        np.testing.assert_allclose(found.estimates[:, number], one.estimates, rtol=1e-12)
        np.testing.assert_allclose(found.influence[:, :, number], one.influence.T, atol=1e-14)
        np.testing.assert_allclose(alone[:, number], one.chance(), rtol=1e-9)
        for row in range(2):
            np.testing.assert_allclose(gaps[row, number], one.chance_of_difference(row, row + 2), rtol=1e-8)
            ends = one.difference(row, row + 2, level=1 - gaps[row, number])
            np.testing.assert_allclose(min(abs(ends.low), abs(ends.high)), 0, atol=1e-8)


def test_of_all_labellings_of_a_few_groups_no_more_alarm_than_stated(rng):
    """4 and 4 groups have 70 labellings, so tables tie with their permutations: one as improbable must not alarm."""
    labellings = [np.isin(np.arange(8), kept) for kept in itertools.combinations(range(8), 4)]
    alarms, tables = 0, 4
    keys = [jax.random.key(number) for number in range(tables + 1)]
    for table in range(tables):
        scores = rng.standard_normal((1, 8))
        level = detection.permutation_level(keys[table], scores, labellings[0])
        for labels in labellings:
            interval = detection.areas(scores, labels).interval(0, level=level)
            alarms += not interval.low <= 0.5 <= interval.high
    assert alarms > 0
    assert alarms / (70 * tables) <= 0.05  # two labellings of 70 separate, two more would be too many
    assert detection.permutation_level(keys[-1], rng.standard_normal((1, 8)), labellings[0], permutations=9) > 1 - 1e-12


def test_a_separating_score_has_an_interval_with_width(rng):
    """AUROC 1: ½ is left once 2/C(m + n, m) < 0.05, and at the lower end so much is separated by chance as stated."""
    for memorized, others in ((2, 2), (3, 3), (4, 4), (2, 7), (2, 8), (10, 70)):
        labels = np.arange(memorized + others) < memorized
        found = detection.areas(labels[None].astype(float) + 0.1 * rng.random((1, labels.size)), labels)
        interval = found.interval(0)
        assert (interval.estimate, interval.high) == (1, 1)
        exact = 2 / scipy.special.comb(memorized + others, memorized)
        np.testing.assert_allclose(found.chance(), exact, rtol=1e-12)
        assert (interval.low > 0.5) == (exact < 0.05)
        np.testing.assert_allclose(interval.low, detection.separating_bound(others, memorized), rtol=1e-12)
    low, draws = detection.separating_bound(5, 5), 100_000
    ratio = low / (1 - low)  # of the rates: the others' is ratio times the memorized ones'
    positive, negative = rng.exponential(1.0, (draws, 5)), rng.exponential(1 / ratio, (draws, 5))
    separated = np.mean(positive.min(axis=1) > negative.max(axis=1))
    assert abs(separated - 0.025) <= 5 * np.sqrt(0.025 * 0.975 / draws)


def test_a_separating_score_gains_on_a_baseline_that_does_not(rng):
    labels = np.arange(60) < 20
    scores = np.stack([labels + 0.1 * rng.random(60), rng.random(60)])
    gap = detection.areas(scores, labels).difference(0, 1)
    assert 0 < gap.low < gap.estimate < gap.high
    same = detection.areas(np.stack([scores[0], 2 * scores[0]]), labels).difference(0, 1)
    assert (same.low, same.high) == (0, 0)


def test_resampled_areas_are_those_of_the_drawn_groups(rng):
    scores, groups, labels = _grouped(rng, 20, 3, 2)
    scores = np.round(scores, 1)  # ties
    drawn = detection.resampled_areas(jax.random.key(3), scores, labels, groups=groups, resamples=400)
    found = detection.areas(scores, labels, groups=groups)
    spread = drawn.std(axis=0, ddof=1) / found.standard_errors
    assert np.all(np.abs(spread - 1) <= 5 / np.sqrt(2 * 400) + 1 / 10)
    alone = detection.resampled_areas(jax.random.key(3), scores[:1], labels, groups=groups, resamples=400)
    np.testing.assert_array_equal(alone[:, 0], drawn[:, 0])  # the same groups for every score


def test_a_shift_between_sources_is_no_memorization(rng):
    """Two sources differ in both nets: an AUROC far from ½ that the baseline explains; one score gains on it."""
    labels = np.arange(400) < 200
    source = rng.standard_normal(400) + 1.0 * labels
    columns = [
        detection.Column("source", source + 0.1 * rng.standard_normal(400)),
        detection.Column("memory", source + 2.0 * labels),
    ]
    baseline = [
        detection.Column("source", source + 0.1 * rng.standard_normal(400)),
        detection.Column("memory", source),
    ]
    key, other = jax.random.split(jax.random.key(4))
    table = detection.evaluate(key, columns, labels, baseline=baseline, combine=False, resamples=200)
    assert table["source"].delong.low > 0.6
    assert not table["source"].survives
    assert not table["source"].alarms
    assert table["memory"].survives
    gap, drawn = table["memory"].difference, table["memory"].difference_bootstrap
    assert abs(gap.standard_error / drawn.standard_error - 1) < 0.4
    assert gap.low > table["memory"].difference_simultaneous.low > 0
    assert "AUROC is above the baseline's for memory;" in str(table)
    assert {"difference", "difference_simultaneous_low"} <= set(table.arrays())
    plain = detection.evaluate(other, columns, labels, combine=False, resamples=50)
    assert plain["source"].survives
    assert "above ½ for memory, source" in str(plain)


def test_groups_stay_on_one_side_of_the_split_and_rule_the_intervals(rng, refused):
    scores, groups, labels = _grouped(rng, 40, 4, 1)
    keys = iter(jax.random.split(jax.random.key(5), 5))
    column = [detection.Column("score", scores[0])]
    table = detection.evaluate(next(keys), column, labels, groups=groups, resamples=100)
    assert not np.intersect1d(groups[table.fit], groups[~table.fit]).size
    assert table.reported_groups == (10, 10)
    assert table.reported_on == (40, 40)
    alone = detection.evaluate(next(keys), column, labels, fit=table.fit, resamples=100)
    assert table["score"].delong.standard_error > 1.4 * alone["score"].delong.standard_error
    assert table["score"].auroc.standard_error > 1.4 * alone["score"].auroc.standard_error
    with refused("fit"):
        detection.evaluate(next(keys), column, labels, groups=groups, fit=np.arange(160) % 2 == 0)
    with refused("groups"):
        detection.evaluate(next(keys), column, labels, groups=groups[1:])
    with refused("baseline"):
        detection.evaluate(next(keys), column, labels, baseline=[detection.Column("other", scores[0])])


def test_cross_fitting_reports_every_sample_by_a_choice_made_without_it(rng):
    labels = np.arange(60) < 10
    columns = [detection.Column(f"noise {index}", rng.standard_normal(60)) for index in range(20)]
    keys = iter(jax.random.split(jax.random.key(6), 40))
    chosen_by = detection.best_column(columns, labels, np.ones(60, dtype=bool))
    optimistic = detection.auroc(chosen_by.scores[labels], chosen_by.scores[~labels])
    found = [detection.cross_fit(next(keys), columns, labels).auroc for _ in range(10)]
    assert optimistic > 0.65
    assert np.mean([one.estimate for one in found]) < optimistic - 0.1
    good = [*columns, detection.Column("good", labels + 0.3 * rng.standard_normal(60))]
    fitted = detection.cross_fit(next(keys), good, labels, groups=np.arange(60) // 2)
    assert set(fitted.chosen) == {"good"}
    assert fitted.auroc.low > 0.5
    assert all(len(np.unique(fitted.fold[pair : pair + 2])) == 1 for pair in range(0, 60, 2))
    with pytest.raises(ValueError, match="folds"):
        detection.cross_fit(next(keys), columns, labels, folds=11)


def test_power_is_the_share_of_experiments_that_find_it(rng):
    """Exponential scores with AUROC A = 1/(1 + r), r the ratio of the means, are Hanley and McNeil's case."""
    memorized, others, repeats = 25, 60, 1500
    area = detection.smallest_auroc(memorized, others)
    assert 0.5 < area < 1
    ratio = 1 / area - 1
    draws = rng.exponential(1 / ratio, (repeats, memorized)), rng.exponential(1.0, (repeats, others))
    areas = detection.auroc(*draws)
    assert abs(areas.mean() - area) <= 5 * scipy.stats.sem(areas)
    spread = detection.auroc_error(area, memorized, others)
    assert abs(areas.std(ddof=1) / spread - 1) <= 5 / np.sqrt(2 * repeats) + 0.02
    threshold = 0.5 + scipy.stats.norm.ppf(0.975) * detection.auroc_error(0.5, memorized, others)
    assert abs(np.mean(areas > threshold) - 0.8) <= 5 * np.sqrt(0.8 * 0.2 / repeats) + 0.03  # normal approximation
    assert detection.smallest_auroc(memorized, others, level=0.999) > area > detection.smallest_auroc(250, 600)
    assert detection.smallest_auroc(1, 1) == 1
    assert detection.smallest_auroc(20, 20, level=0.5, power=0.1) == 0.5  # chance alone alarms so often
    np.testing.assert_allclose(detection.auroc_error(0.5, 7, 9), np.sqrt((7 + 9 + 1) / (12 * 7 * 9)), rtol=1e-12)
