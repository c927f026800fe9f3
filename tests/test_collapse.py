"""Collapses of curves and exponents of crossings on curves that obey a law by construction."""

import numpy as np
import pytest

from sims.measures import collapse

N = np.geomspace(2, 512, 17)
LEVEL, LOW = 0.5, 0.45
RNG = np.random.default_rng(3)
LOGS = np.log(np.stack([[1, 2, 4, 8, 4, 4, 2], [3, 3, 3, 3, 1, 6, 6]], axis=1).astype(float))
TRUE = np.asarray([1.0, 0.5])


def _curves(powers, noise=0.0):
    """y = 1/(1 + (n/(3 s))²), s = K^a r^b."""
    scales = np.exp(LOGS @ powers)
    curves = 1 / (1 + (N[None, :] / (3 * scales[:, None])) ** 2)
    return curves + noise * RNG.normal(size=curves.shape)


def test_exponents_of_a_power_law_come_back():
    curves = _curves(TRUE)
    found, left = collapse.exponents(LOGS, collapse.crossings(N, curves, LEVEL, LOW))
    np.testing.assert_allclose(found[1:], TRUE, atol=0.02)  # crossings are linear between points of the grid
    np.testing.assert_allclose(found[0], np.log(3), atol=0.02)
    assert left < 0.02
    # K alone says nothing of the other exponent, and one curve nothing of either
    alone, _ = collapse.exponents(LOGS[:4], collapse.crossings(N, curves[:4], LEVEL, LOW))
    np.testing.assert_allclose(alone[1], TRUE[0], atol=0.02)
    assert np.isnan(alone[2])
    np.testing.assert_allclose(collapse.scale_of(LOGS, alone[1:]), alone[1] * LOGS[:, 0])
    one, _ = collapse.exponents(LOGS[:1], collapse.crossings(N, curves[:1], LEVEL, LOW))
    assert np.isnan(one[1:]).all()


def test_the_right_scale_collapses_curves_and_others_do_not():
    curves = _curves(TRUE, noise=0.01)
    by = {
        "right": collapse.quality(N, curves, collapse.fixed(LOGS @ TRUE)),
        "fitted": collapse.quality(N, curves, collapse.fitted(N, LOGS, LEVEL, LOW)),
        "none": collapse.quality(N, curves, collapse.fixed(0 * LOGS[:, 0])),
        "wrong": collapse.quality(N, curves, collapse.fixed(-(LOGS @ TRUE))),
    }
    assert by["right"] > 0.99
    assert by["fitted"] > 0.99
    assert by["right"] > by["none"] + 0.05 > by["wrong"] + 0.1


def test_a_collapse_is_judged_by_curves_that_were_left_out():
    noise = RNG.normal(size=(40, len(N)))
    assert collapse.quality(N, noise, collapse.fixed(np.zeros(40))) == pytest.approx(0, abs=0.1)
    looked = []

    def scales(left_out, curves):
        looked.append(left_out)
        return np.zeros(len(curves))

    collapse.quality(N, _curves(TRUE), scales)
    assert looked == list(range(len(LOGS)))


def test_a_scale_is_determined_up_to_a_factor():
    curves = _curves(TRUE)
    one, other = (collapse.quality(N, curves, collapse.fixed(LOGS @ TRUE + shift)) for shift in (0, 2.5))
    assert one == pytest.approx(other, abs=1e-9)
