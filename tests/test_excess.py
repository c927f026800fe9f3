"""Why nets are above the minimizer, on a record whose answer is known."""

import numpy as np
import pytest
import xarray as xr

from dae_theory import compare
from sims.measures import excess, second_search

DIMS = ("noise_std", "weight_decay", "n", "seed")


@pytest.fixture
def record():
    """Excess 10, of which time removes 6, descent 2, an exchange 1.5, width .5, times the number of the seed."""
    coordinates = {"noise_std": [0.2], "weight_decay": [1e-3], "n": [4, 8, 16], "seed": [1, 2]}
    size = xr.DataArray(np.ones((1, 1, 3, 2)), dims=DIMS, coords=coordinates) * xr.DataArray([1.0, 2.0], dims="seed")
    least = 100 * size
    nets = xr.concat([least + 40 * size, least + 10 * size, least + 4 * size], "steps").expand_dims(
        p=[48], schedule=["constant", "decaying"]
    )
    data = xr.Dataset({"net_objective": nets, "objective": least}).assign_coords(steps=[30, 300, 3000])
    for name, left in (("early", 3), ("settled", 2), ("exchanged", 0.5)):
        data[f"{name}_objective"] = least + left * size
        data[f"{name}_index"], data[f"{name}_gradient"] = 0.6 - left * size / 100, 0 * size
    data["exchanged_growth"] = 1 + 0.1 * (size > 1)
    data["index"], data["net_index"] = 0 * size + 0.6, 0.6 - 0.05 * nets / least
    data["lower_bound"] = least - 2.5 * size
    return excess.with_paths(data.assign_attrs(studied=48, margin=0.05))


def test_parts_of_the_excess_are_shares_of_one_whole(record):
    found = excess.shares(record, "objective")
    np.testing.assert_allclose(found.sel(stage="longer"), 0.6)
    np.testing.assert_allclose(found.sel(stage="settled"), 0.2)
    np.testing.assert_allclose(found.sel(stage="exchanged"), 0.15)
    np.testing.assert_allclose(found.sel(stage="minimizer"), 0.05)
    np.testing.assert_allclose(excess.shares(record, "index").sum("stage"), 1)


def test_rows_say_each_share_and_who_reaches_the_minimizer(record):
    rows = list(excess.rows(record))
    assert len({(row.claim, row.label) for row in rows}) == len(rows)
    said = {reason: [row for row in rows if reason in row.claim] for reason in (": time", "optimizer's", ": width")}
    np.testing.assert_allclose([said[reason][0].measured for reason in said], [0.6, 0.2, 0.05])
    assert all("n = 8, 16" in row.claim for row in said[": time"])
    bounded = [row for row in rows if "at its lower bound" in row.claim]
    np.testing.assert_allclose([row.measured for row in bounded], [6 / 12.5, 3 / 12.5])
    reached = [row for row in rows if "within 5%" in row.claim]
    assert [row.measured for row in reached] == [0, 0, 1] * 2  # 40 %, 10 % and 4 % above, under both schedules
    assert reached[0].ends == compare.share("a", "b", 0, 6).ends
    growing = next(row for row in rows if "newcomer grows" in row.claim)
    assert growing.measured == 0.5


def test_a_second_minimizer_says_what_the_first_leaves_open(record):
    """The second is .25 lower and its index .1 higher, on the first data set: the missing index grows by .1 an n."""
    only = record["objective"].where(record["seed"] == 1)
    told = {"objective": only - 0.25, "lower_bound": only - 0.25, "gap": 0 * only, "index": 0 * only + 0.7}
    told["distance"] = 0 * only + 0.16  # allowed: √.25 from the first to its bound, and rounding
    told = {f"second_{name}": values for name, values in told.items()} | {"lower_bound": only - 1}
    found = record.assign(told)
    rows = {row.claim: row for row in second_search.rows(found.assign_attrs(tolerance=0.03))}
    (apart,) = [row for claim, row in rows.items() if "distance" in claim]
    assert apart.measured == pytest.approx(0.8, rel=1e-4)
    assert apart.verdict == "agrees"
    assert [row.measured for claim, row in rows.items() if "index of the second" in claim] == pytest.approx([0.1] * 3)
    path = record["path_index"].sel(n=[8, 16], seed=1).sum("n").squeeze()
    missing = float(path[-1] - path[0])
    smaller = 1 / missing - 1 / (missing + 0.2)
    said = [row.measured for claim, row in rows.items() if "moves it" in claim]
    assert said[:3] == pytest.approx(list(path.diff("stage").values[:3] * smaller))
    assert said[3] == pytest.approx(sum(said[:3]))  # what the others lose is left to width
    assert list(second_search.rows(record)) == []
