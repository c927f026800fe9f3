"""The benchmark: its statistics, its sections at sizes that take seconds, and what it says without torch."""

import numpy as np
import pytest

from sims import launch
from sims.benchmark import SIM
from sims.benchmarks import generators, nets, turns


def test_the_median_lies_between_its_ends_as_often_as_stated():
    """(order statistics: P(X_(low) ≤ median ≤ X_(high)) is binomial, whatever the law)"""
    draws = np.random.default_rng(0).exponential(size=(20_000, 9))
    low, high = turns.ends(9)
    draws.sort(axis=1)
    covered = np.mean((draws[:, low] <= np.log(2)) & (draws[:, high] >= np.log(2)))
    exact = 1 - 2 * (1 + 9) / 2**9
    assert abs(covered - exact) < 5 * np.sqrt(exact * (1 - exact) / 20_000)
    assert exact >= 0.95


def test_turns_give_work_over_time():
    found = turns.rates({"one": lambda: 1.0, "two": lambda: 2.0}, 4)
    assert {name: values.shape for name, values in found.items()} == {"one": (4,), "two": (4,)}
    assert all((values > 0).all() for values in found.values())
    row = turns.row("twice", "of", [2.0, 2.1, 1.9], 1.5)
    assert (row.verdict, row.measured, row.ends) == ("agrees", 2.0, (1.9, 2.1))


def test_the_factor_of_common_noise_is_that_of_dependent_nets():
    """Var(mean) = (1 + (m − 1)ρ)/m against 1/m, for m nets of correlation ρ."""
    generator, m, rho = np.random.default_rng(1), 8, 0.5
    own = generator.normal(size=(400, m))
    common = np.sqrt(rho) * generator.normal(size=(400, 1)) + np.sqrt(1 - rho) * generator.normal(size=(400, m))
    factor, low, high = generators.design(common, own)
    assert low < 1 + (m - 1) * rho < high
    assert low < factor < high


@pytest.mark.slow
def test_without_torch_the_ensemble_runs_alone(monkeypatch, capsys):
    monkeypatch.setattr(nets, "find_spec", lambda name: None)
    data = nets.measure(True, 2, "wall")
    assert "torch is not installed" in capsys.readouterr().out
    assert nets.LOOP not in data["contestant"]
    assert all(row.verdict == "measured" for row in nets.judge(data))


@pytest.mark.slow
def test_a_section_alone_is_a_record_with_rows(tmp_path, capsys):
    options = ["--smoke", "--sections", "objective", "--no-figure", "--out", str(tmp_path)]
    record = launch.main(SIM, options)
    data = record.read()
    assert data.attrs["sections"] == "objective"
    assert not any(name.startswith("nets") for name in data)
    assert SIM.judge(data)
    assert "cores" in capsys.readouterr().out
