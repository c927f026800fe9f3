"""Verdicts: right and wrong predictions told apart at the stated error rates, failed members never hidden."""

import jax
import numpy as np
import pytest
import scipy.stats
import xarray as xr

from dae_theory import compare


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_mean_sem_and_z_are_the_usual_ones(rng):
    measured = 2 + rng.standard_normal((16, 3))
    result = compare.compare([1.9, 2.0, 2.1], measured)
    np.testing.assert_allclose(result.mean, measured.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(result.sem, scipy.stats.sem(measured), rtol=1e-12)
    student = np.asarray(scipy.stats.ttest_1samp(measured, [1.9, 2.0, 2.1])[0], dtype=float)
    np.testing.assert_allclose(result.z, student, rtol=1e-10)
    np.testing.assert_allclose(result.deviation, measured.mean(axis=0) / [1.9, 2.0, 2.1] - 1, rtol=1e-10)


def test_a_true_prediction_is_refused_as_often_as_the_threshold_says(rng):
    """At |z| ≤ 2 with 64 members Student's t with 63 degrees of freedom gives the rate; within 5 standard errors."""
    measured = 100 + rng.standard_normal((64, 4000))
    result = compare.compare(100.0, measured, threshold=2.0)
    expected = 2 * scipy.stats.t.sf(2, df=63)
    rate = np.mean(result.verdict == "differs")
    assert abs(rate - expected) <= 5 * np.sqrt(expected * (1 - expected) / 4000)
    assert np.all(np.asarray(result.agrees) != np.asarray(result.differs))


def test_verdicts():
    spread = np.array([-1.0, 1.0, -1.0, 1.0])[:, None] * np.sqrt(3)  # sem 1 with four members
    predicted = np.array([100.0, 100.0, 100.0, 2.0, 100.0])
    measured = predicted[None] + np.array([0.0, 4.0, 6.0, 0.0, 6.0])[None] + spread
    result = compare.compare(predicted, measured)
    np.testing.assert_allclose(result.z, [0, 4, 6, 0, 6], atol=1e-10)
    # The fourth cell cannot tell 2 from 0.
    assert list(result.verdict) == ["agrees", "agrees", "differs", "undecided", "differs"]
    assert list(compare.compare(predicted, measured, tolerance=0.06).verdict)[2] == "agrees"
    assert list(compare.compare(predicted, measured, scale=10.0).verdict)[3] == "agrees"


def test_failed_members_are_counted_and_never_agree():
    measured = np.array([[1.0, 1.0], [1.1, np.nan], [0.9, 1.1], [1.0, np.inf]])
    result = compare.compare(1.0, measured)
    np.testing.assert_array_equal(result.missing, [0, 2])
    np.testing.assert_array_equal(result.count, [4, 2])
    np.testing.assert_allclose(result.mean, [1.0, 1.05])
    assert list(result.verdict) == ["agrees", "undecided"]
    assert "2 missing" in compare.lines(result, "loss")[1]
    assert "undecided" in compare.lines(result, "loss")[1]
    nothing = compare.compare(1.0, np.full((3, 1), np.nan))
    assert np.isnan(nothing.mean[0])
    assert nothing.verdict[0] == "undecided"


def test_a_missed_inequality_is_decided_by_the_end_towards_the_prediction():
    """Wilson's interval of 0 of 10 is [0, .28]: it excludes a share of at least ½, not one of at least .01."""
    claim = "claim", "label"
    assert compare.share(*claim, 0, 10, 0.01, relation="≥").verdict == "undecided"
    assert compare.share(*claim, 0, 10, 0.5, relation="≥").verdict == "differs"
    assert compare.share(*claim, 10, 10, 0.99, relation="≤").verdict == "undecided"
    assert compare.share(*claim, 10, 10, 0.5, relation="≤").verdict == "differs"
    assert compare.interval(*claim, 0.5, 0.1, 0.55, 0.6, relation="≥").verdict == "differs"
    assert compare.interval(*claim, 0.5, 0.45, 0.9, 0.4, relation="≤").verdict == "differs"
    assert compare.interval(*claim, 0.5, 0.3, 0.9, 0.4, relation="≤").verdict == "undecided"


def test_an_inequality_with_failed_members_never_agrees():
    claim = "claim", "label"
    assert compare.mean(*claim, [1.0, 1.1, np.nan], 0.5, relation="≥").verdict == "undecided"
    assert compare.mean(*claim, [1.0, 1.1, 1.2], 0.5, relation="≥").verdict == "agrees"
    assert compare.interval(*claim, np.nan, 0.0, 1.0, 0.5).verdict == "undecided"


def test_one_member_and_members_without_spread():
    one = compare.compare(1.0, np.array([1.05]))
    assert np.isnan(one.sem)
    assert one.verdict == "undecided"
    assert compare.compare(1.0, np.array([1.05]), tolerance=0.1).verdict == "agrees"
    same = np.full((3,), 2.0)
    assert compare.compare(2.0, same).verdict == "agrees"
    off = compare.compare(1.0, same)
    assert np.isposinf(off.z)
    assert off.verdict == "differs"


def test_a_prediction_of_zero_is_decided_by_z_alone(rng):
    result = compare.compare(0.0, rng.standard_normal(100))
    assert np.isnan(result.deviation)
    assert "deviation" not in compare.lines(result, "gap")[0]
    assert result.verdict == "agrees"
    assert compare.compare(0.0, 1 + rng.standard_normal(100)).verdict == "differs"


def test_under_jit_and_vmap(rng):
    measured, predicted = 5 + rng.standard_normal((4, 16, 3)), np.array([5.0, 5.0, 9.0])
    together = jax.jit(jax.vmap(lambda m: compare.compare(predicted, m)))(measured)
    assert together.verdict.shape == (4, 3)
    np.testing.assert_array_equal(together.verdict[2], compare.compare(predicted, measured[2]).verdict)


def test_refusals(refused):
    with refused("predicted"):
        compare.compare(np.nan, np.ones(3))
    with refused("predicted"):
        compare.compare(np.ones(2), np.ones((3, 4)))
    with refused("measured"):
        compare.compare(1.0, 1.0)
    with refused("threshold"):
        compare.compare(1.0, np.ones(3), threshold=0.0)
    with refused("tolerance"):
        compare.compare(1.0, np.ones(3), tolerance=-1.0)
    with refused("scale"):
        compare.compare(1.0, np.ones(3), scale=-1.0)


def test_a_row_without_an_interval_says_why_in_words_and_keeps_them():
    few = compare.interval("a", "e", 1.674, np.nan, np.nan, 1.0, unknown="4 of 56 runs cross")
    none = compare.interval("b", "e", np.nan, np.nan, np.nan, 1.0)
    measured = compare.interval("c", "e", np.nan, np.nan, np.nan, unknown="no run gets there")
    rows = [few, none, measured, compare.interval("d", "e", 1.0, 0.9, 1.1, 1.0)]
    again = compare.kept(compare.keep(xr.Dataset(), rows))
    for kept in (rows, again):
        assert [row.verdict for row in kept] == ["undecided", "undecided", "measured", "agrees"]
        assert [compare.cells(row)[3] for row in kept] == [
            "1.674, undecided: 4 of 56 runs cross",
            "undecided: no interval",
            "no run gets there",
            "1 [0.9, 1.1]",
        ]
    earlier = compare.keep(xr.Dataset(), [compare.number("a", "e", np.nan)]).drop_vars("row_note")
    assert compare.cells(compare.kept(earlier)[0])[3] == "unknown"


def test_agreement_is_the_coefficient_of_determination_of_the_prediction_itself(rng):
    measured = rng.standard_normal((40, 5))
    exact = compare.agreement(measured, measured)
    assert (exact.r_squared, exact.largest_miss, exact.cells) == (1.0, 0.0, 200)
    assert compare.agreement(np.full_like(measured, measured.mean()), measured).r_squared == pytest.approx(0, abs=1e-12)
    # where the prediction is the least-squares line, R² is the square of Pearson's correlation
    other = measured + rng.standard_normal(measured.shape)
    fit = scipy.stats.linregress(other.ravel(), measured.ravel())
    found = compare.agreement(fit.intercept + fit.slope * other, measured)
    assert found.r_squared == pytest.approx(fit.rvalue**2, rel=1e-10)
    # a shift is a miss, though it correlates
    shifted = compare.agreement(measured + 3, measured)
    assert shifted.largest_miss == pytest.approx(3)
    assert shifted.r_squared == pytest.approx(1 - 9 / measured.var(), rel=1e-10)


@pytest.mark.parametrize(
    ("predicted", "measured", "message"),
    [([1.0, 2.0], [1.0], "measured"), ([1.0], [1.0], "at least 2"), ([1.0, np.nan], [1.0, 2.0], "predicted")],
)
def test_agreement_refuses(predicted, measured, message):
    with pytest.raises(ValueError, match=message):
        compare.agreement(predicted, measured)


def test_rows_are_judged_by_their_own_error_bars():
    members = np.asarray([0.9, 1.0, 1.1, 1.0])
    assert compare.mean("a", "e", members, 1.0).verdict == "agrees"
    assert compare.mean("a", "e", members, 2.0).verdict == "differs"
    assert compare.mean("a", "e", members, 0.5, relation="≥").verdict == "agrees"
    assert compare.mean("a", "e", members, 0.5, relation="≤").verdict == "differs"
    assert compare.mean("a", "e", members, 1.01, relation="≥").verdict == "undecided"
    assert compare.mean("a", "e", [1.0, np.nan], 1.0).verdict == "undecided"
    assert compare.share("a", "e", 10, 10, 1.0).verdict == "agrees"
    assert compare.share("a", "e", 0, 10, 1.0).verdict == "differs"
    assert compare.interval("a", "e", 1.0, 0.9, 1.1, 1.05).verdict == "agrees"
    assert compare.number("a", "e", 1.0, 1.05, tolerance=0.01).verdict == "differs"
    assert compare.number("a", "e", 1.0, 0.99, tolerance=0.02, relation="≤").verdict == "agrees"
    assert compare.number("a", "e", 1.0, 1.01, relation="≥").verdict == "differs"
    assert compare.number("a", "e", np.nan, 1.0).verdict == "differs"
    assert compare.number("a", "e", 1.0).verdict == "measured"
