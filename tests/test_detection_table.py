"""The table: thresholds on held-out samples, silent samples, batches and lengths, the choice of a column."""

import io

import jax
import numpy as np
import pytest

from dae_theory import detection, representation

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


def test_the_table_tells_scale_free_scores_from_the_std(rng, key):
    """With gains that vary e-fold the std is nearly blind where the participation ratio is perfect."""
    h, memorized = _spiky_and_balanced(rng, gain_spread=2.0)
    table = detection.score_table(key, h, memorized, inputs=rng.standard_normal(SHAPE), denoised=h, resamples=200)
    assert [row.name for row in table.rows] == [
        *("std", "l4_over_l2", "kurtosis", "participation_ratio", "gini", "max_share"),
        *("pixel_std", "input_norm", "denoising_loss", "combined"),
    ]
    assert table["participation_ratio"].auroc.estimate == 1
    assert table["combined"].auroc.estimate == 1
    assert table["l4_over_l2"].auroc == table["participation_ratio"].auroc  # the same ranking
    assert table["std"].auroc.high < 1
    assert table["pixel_std"].auroc.low < 0.5 < table["pixel_std"].auroc.high
    assert [row.name for row in table.rows if row.control] == ["pixel_std", "input_norm", "denoising_loss"]
    assert sum(table.fitted_on) + sum(table.reported_on) == SHAPE[0]
    assert all(row.seconds > 0 for row in table.rows)
    assert "participation_ratio" in str(table)
    with pytest.raises(KeyError, match="participation_ratio"):
        table["participation"]


def test_thresholds_come_from_the_other_split_and_scores_are_not_flipped(rng, key):
    scores, memorized = rng.standard_normal(200), np.arange(200) < 100
    fit = np.arange(200) % 2 == 0
    score = scores - 3.0 * memorized  # points the wrong way
    moved = np.where(fit, score, score + 7)
    keys = jax.random.split(key)
    tables = [
        detection.evaluate(part, [detection.Column("score", values)], memorized, fit=fit, resamples=50)
        for part, values in zip(keys, (score, moved), strict=True)
    ]
    assert tables[0]["score"].threshold == tables[1]["score"].threshold
    assert tables[0]["score"].auroc.estimate < 0.1
    negatives = score[fit & ~memorized]
    assert tables[0]["score"].threshold == detection.threshold_at_fpr(negatives)
    np.testing.assert_allclose(
        tables[1]["score"].fpr.rate, np.mean(moved[~fit & ~memorized] > tables[1]["score"].threshold)
    )


def test_a_silent_sample_never_fires_and_spoils_no_row(rng, key):
    """An all-zero representation has no scale-free score: it ranks lowest, so a memorized one is a miss."""
    h, memorized = _spiky_and_balanced(rng)
    fit = np.arange(SHAPE[0]) < SHAPE[0] // 2
    silent = SHAPE[0] - 2
    assert memorized[silent]
    assert not fit[silent]
    h[silent] = 0
    table = detection.score_table(key, {"layer 1": h, "layer 2": h}, memorized, fit=fit, resamples=20)
    for name in ("layer 1/gini", "layer 2/participation_ratio", "combined"):
        assert table[name].undefined == 1
        np.testing.assert_allclose(table[name].auroc.estimate, 1 - 1 / np.sum(memorized & ~fit), rtol=1e-12)
        assert np.isfinite(table[name].threshold)
    assert table["layer 2/std"].undefined == 0
    assert "(1 undefined)" in str(table)
    nothing = detection.evaluate(
        jax.random.key(1), [detection.Column("none", np.full(SHAPE[0], np.nan))], memorized, resamples=20
    )
    assert np.isnan(nothing["none"].auroc.estimate)


def test_captured_batches_are_scored_as_they_are(rng, key):
    """A mapping from names to lists of batches, as hooks leave it, is the table of the whole; rows name the layer."""
    h, memorized = _spiky_and_balanced(rng)
    first, second = jax.random.split(key)
    whole = detection.score_table(first, {"block": h}, memorized, resamples=20)
    parts = detection.score_table(second, {"block": [h[:50], h[50:]]}, memorized, resamples=20)
    assert [row.name for row in parts.rows[:-1]] == [f"block/{name}" for name in representation.ORIENTATION]
    for one, other in zip(detection.score_columns(h), detection.score_columns([h[:50], h[50:]]), strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)
    assert [row.name for row in parts.rows] == [row.name for row in whole.rows]


def test_what_is_of_a_wrong_length_is_named(rng, refused):
    h, memorized = _spiky_and_balanced(rng)
    keys = iter(jax.random.split(jax.random.key(2), 6))
    with refused("memorized"):
        detection.score_table(next(keys), h, memorized[:-1])
    with pytest.raises(ValueError, match=r"'shared'.*2 rows a sample.*shared"):
        detection.score_table(next(keys), {"shared": [h, h]}, memorized)
    with refused("activations"):
        detection.score_table(next(keys), {"layer": [h, h[:, 1:]]}, memorized)
    scores = [detection.Column("one", h[:, 0]), detection.Column("two", h[1:, 0])]
    with refused("columns"):
        detection.evaluate(next(keys), scores, memorized)
    with refused("memorized"):
        detection.evaluate(next(keys), scores[:1], memorized[1:])
    for wrong in (0, None, "key"):
        with refused("key"):
            detection.score_table(wrong, h, memorized)
        with refused("key"):
            detection.evaluate(wrong, scores[:1], memorized)


def test_a_class_without_any_defined_sample_leaves_the_combination_out(rng, key):
    activations, memorized = rng.random((40, 8)), np.arange(40) < 20
    activations[memorized] = 1.0  # constant rows have no kurtosis
    table = detection.score_table(key, activations, memorized)
    assert [row.name for row in table.rows] == [statistic.__name__ for statistic in detection.STATISTICS]
    assert table["kurtosis"].undefined == 20


def test_the_best_column_is_chosen_where_it_may_look_and_an_undefined_one_loses(rng):
    memorized, on = np.arange(80) % 2 == 0, np.arange(80) < 40
    good_there, good_elsewhere = rng.random(80), rng.random(80)
    good_there[on] += 2 * memorized[on]
    good_elsewhere[~on] += 2 * memorized[~on]
    undefined = np.where(np.arange(80) == 2, np.nan, memorized.astype(float))  # a memorized one: a miss
    named = (("undefined", undefined), ("elsewhere", good_elsewhere), ("there", good_there))
    columns = [detection.Column(name, scores) for name, scores in named]
    assert detection.best_column(columns, memorized, on).name == "there"
    assert detection.best_column(columns, memorized, ~on).name == "undefined"
    assert detection.best_column(columns[1:], memorized, ~on).name == "elsewhere"
    reversed_ = [detection.Column("wrong way", -1.0 * memorized), detection.Column("chance", np.zeros(80))]
    assert detection.best_column(reversed_, memorized, on).name == "chance"  # never flipped
    with pytest.raises(ValueError, match="on must hold"):
        detection.best_column(columns, memorized, memorized)


def test_activations_in_a_file_give_the_table_in_three_lines(rng):
    h, memorized = _spiky_and_balanced(rng)
    file = io.BytesIO()
    np.savez(file, activations=h, memorized=memorized)
    file.seek(0)

    saved = np.load(file)
    table = detection.score_table(jax.random.key(0), saved["activations"], saved["memorized"], resamples=20)
    assert "AUROC" in str(table)
