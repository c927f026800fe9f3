"""Refinement on indices that are known: nets go where the boundary is, also where the index is not monotone."""

import numpy as np
import pytest

from dae_theory import records
from sims import launch, refined_boundary
from sims.measures import refinement

NUMBERS = {"level": 0.5, "below": 0.45, "resamples": 200}


def _line(n, index, nets, rng, noise=0.04):
    return {at: list(index(at) + noise * rng.normal(size=nets)) for at in n}


def _falls(n):
    """Through ½ at n = 12; rises again behind 100."""
    return 0.5 - 0.2 * np.log(n / 12) if n < 40 else 0.26 + 0.03 * np.log(n / 40)


def test_rounds_bracket_a_boundary_and_beat_a_uniform_grid_of_equal_cost():
    rng = np.random.default_rng(0)
    lines = {p: _line((2, 8, 32, 128, 512), _falls, 4, rng) for p in (1, 2)}
    for _ in range(10):
        bands = {p: refinement.locate(line, 0, **NUMBERS) for p, line in lines.items()}
        for p, n in refinement.plan(lines, bands, 16, finest=1.5):
            lines[p].setdefault(n, []).append(_falls(n) + 0.04 * rng.normal())
    cost = sum(len(values) for line in lines.values() for values in line.values())
    assert cost == 2 * 5 * 4 + 10 * 16
    ended = [refinement.locate(line, 0, **NUMBERS) for line in lines.values()]
    grid = np.unique(np.geomspace(2, 512, cost // 2 // 4).round()).astype(int)
    uniform = [refinement.locate(_line(grid, _falls, 4, rng), 0, **NUMBERS) for _ in range(20)]
    assert max(band.width for band in ended) < np.mean([band.width for band in uniform]) / 1.5
    assert all(band.low <= 12 <= band.high for band in ended)
    for line in lines.values():
        spent = {n: len(values) for n, values in line.items()}
        assert sum(count for n, count in spent.items() if 8 <= n <= 16) > 0.7 * sum(spent.values())


def test_every_interval_in_which_resamples_find_the_boundary_gets_nets():
    # mean just about ½ at 8: some resamples fall before it, some behind
    line = {2: [0.9, 0.9], 8: [0.45, 0.56], 32: [0.55, 0.46], 128: [0.2, 0.2]}
    band = refinement.locate(line, 1, **NUMBERS)
    assert refinement.wanted(line, band, finest=1.5) == [4, 16, 64]


def test_neighbours_get_more_nets_and_lines_without_a_boundary_none():
    line = {2: [0.9, 0.9], 11: [0.6, 0.61], 12: [0.4, 0.41], 64: [0.2, 0.2]}
    band = refinement.locate(line, 1, **NUMBERS)
    assert refinement.wanted(line, band, finest=1.01) == [11, 12]
    flat = {2: [0.9, 0.9], 64: [0.8, 0.8]}
    bands = {1: band, 2: refinement.locate(flat, 1, **NUMBERS)}
    assert np.isnan(bands[2].width)
    assert refinement.plan({1: line, 2: flat}, bands, 5, finest=1.5) == [(1, 11), (1, 12), (1, 11), (1, 12), (1, 11)]
    assert refinement.plan({2: flat}, {2: bands[2]}, 5, finest=1.5) == []


def test_an_open_boundary_gets_nets_where_the_index_is_lowest():
    line = {2: [0.9, 0.9], 8: [0.48, 0.48], 32: [0.44, 0.47, 0.44]}  # .45 is reached in some resamples only
    band = refinement.locate(line, 1, **NUMBERS)
    assert 0.05 < band.found < 0.95
    assert band.width == np.inf
    assert 32 in refinement.wanted(line, band, finest=1.5)


@pytest.mark.slow
def test_an_interrupted_refinement_goes_on_with_its_own_rounds(tmp_path, monkeypatch):
    def run(out: str) -> records.Record:
        return launch.main(refined_boundary.SIM, ["--smoke", "--no-figure", "--out", str(tmp_path / out)])

    whole = run("whole").read()
    advance = launch.Run.advance
    told = []

    def interrupted(self, models=1):
        told.append(models)
        advance(self, models)
        if sum(told) > 14:  # in the first round of refinement
            raise KeyboardInterrupt

    monkeypatch.setattr(launch.Run, "advance", interrupted)
    with pytest.raises(SystemExit) as stopped:
        run("cut")
    assert stopped.value.code == 130
    monkeypatch.setattr(launch.Run, "advance", advance)
    again = run("cut")
    assert again.manifest()["resumed"]
    assert again.read().identical(whole)
