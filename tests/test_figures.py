"""Every figure has its committed record, which states its numbers; what is drawn, kept, run again and refused."""

import importlib
import json
import math
import re
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from dae_theory import compare, records
from figures import make
from figures.look import limits, style
from figures.records import again, found, keep, limit
from sims import launch

DATA = Path(make.__file__).parent / "data"
KEPT = sorted(path.parent.name for path in DATA.glob("*/manifest.json"))
DRAWN = [name for name in make.available() if found.folder(DATA, name).name in KEPT]


@pytest.fixture(autouse=True)
def _styled():
    with plt.rc_context():
        style.use()
        yield
        plt.close("all")


def test_every_figure_has_a_committed_record():
    assert set(make.available()) == set(DRAWN)


@pytest.mark.parametrize("name", KEPT)
def test_committed_records_come_from_a_commit_and_their_hash_is_that_of_their_settings(name):
    _, manifest = records.read(DATA / name)
    assert manifest["dirty"] is False
    assert re.fullmatch("[0-9a-f]{40}", manifest["commit"])
    assert manifest["hash"] == records.config_hash(
        manifest["name"], manifest["config"], manifest["versions"]["dae_theory"]
    )


def test_committed_records_are_small():
    assert sum(path.stat().st_size for path in DATA.rglob("*") if path.is_file()) < 6_000_000


@pytest.mark.parametrize("name", KEPT)
def test_the_settings_of_a_record_are_a_command_line_of_its_sim(name):
    _, manifest = records.read(DATA / name)
    sim = importlib.import_module(f"sims.{manifest['name']}").SIM
    config, _ = launch.parse(sim.name, sim.config, sim.smoke, again.arguments(manifest["config"]))
    again_ = json.loads(json.dumps(launch.as_plain(config)))
    # an option that came after the record stands at its default, which is what the record was made with: threefry was
    # the only generator, no minimizer was searched for twice; whoever adds an option says so here or makes them again
    assert again_.keys() - manifest["config"].keys() <= {"generator", "twice"}
    assert again_.get("generator", "threefry") == manifest["config"].get("generator", "threefry")
    assert {name: again_[name] for name in manifest["config"]} == manifest["config"]


@pytest.mark.parametrize("name", [name for name in DRAWN if name not in found.DRAWN_FROM])
def test_figures_state_their_numbers(name):
    data, _ = records.read(DATA / name)
    rows = found.rows(name, data)
    assert rows
    assert len({(row.claim, row.label) for row in rows}) == len(rows)
    for row in rows:
        assert row.verdict in ("agrees", "differs", "undecided", "measured")
        assert row.claim
        assert row.label
        assert (row.predicted is None) == (row.verdict == "measured")
        assert row.predicted is None or math.isfinite(row.predicted)
        assert compare.reproduced(row, row)


def test_the_opened_nets_are_those_of_the_map():
    data, _ = records.read(DATA / "phase_diagram")
    cells, manifest = records.read(DATA / "phase_cells")
    mine = data["train_objective"].sel(seed=manifest["config"]["member"])
    ratio = cells["train_objective"] / mine
    # the same net up to float32 sums in another order; other nets of a cell differ by far more
    spread = (data["train_objective"].std("seed") / data["train_objective"].mean("seed")).median()
    assert float(abs(ratio - 1).median()) < 1e-2 * float(spread)


def _with_minimizer(root, index, **coordinates):
    """Folder of a minimizer's record with this index over n, at other σ or λ where such coordinates are given."""
    from sims.measures import boundaries

    data, manifest = records.read(DATA / "global_minimizer")
    data = data.assign(index=index).drop_vars([name for name in data.variables if str(name).startswith("row_")])
    data = boundaries.with_limits(data).assign_coords(coordinates)
    folder = root / "global_minimizer"
    folder.mkdir(parents=True)
    compare.keep(data, list(boundaries.limits(data))).to_netcdf(folder / "data.nc", engine="h5netcdf")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return root


def test_a_map_ends_where_the_minimizer_of_the_same_settings_does(tmp_path):
    data, manifest = records.read(DATA / "phase_times")
    minimizer = records.read(DATA / "global_minimizer")[0]
    n = minimizer["n"].values
    falling = minimizer["index"] * 0 + xr.DataArray(np.linspace(0.7, 0.4, len(n)), dims="n", coords={"n": n})

    def end(root):
        return limit.with_limit(data, manifest["config"], root).attrs

    known = end(_with_minimizer(tmp_path / "known", falling))
    assert n[0] < known["limit_low"] <= known["limit"] <= known["limit_high"] < n[-1]
    beyond = end(_with_minimizer(tmp_path / "beyond", falling + 0.2))
    assert beyond["limit_beyond"] == n[-1]
    assert "limit" not in beyond
    other = end(_with_minimizer(tmp_path / "other", falling, noise_std=[0.7]))
    assert set(other) == set(data.attrs) == set(end(tmp_path / "none"))
    for attributes, said in ((known, "n ="), (beyond, "right of"), (other, "not known")):
        shown = data.assign_attrs(attributes)
        assert said in limits.words(shown)
        make.script("phase_times").draw(shown)


def test_a_map_over_neurons_has_the_times_of_the_same_settings_beside_it():
    data, manifest = records.read(DATA / "phase_diagram")
    config = manifest["config"]
    times, other = records.read(DATA / "time_map")
    shown = limit.with_times(data, config, DATA)
    np.testing.assert_array_equal(shown["times_index"].values, times["train_index"].values)
    np.testing.assert_array_equal(shown["times_boundary"].values, times["boundary"].values)
    assert (shown.attrs["times_p"], shown.attrs["times_trained"]) == (other["config"]["p"], config["steps"])
    assert shown.drop_vars([name for name in shown.variables if str(name).startswith("times_")]).equals(data)
    make.script("at_a_glance").draw(shown)
    for changed in ({"noise_std": 0.7}, {"components": 5}, {"copies": 2}, {"tied": True}):
        alone = limit.with_times(data, config | changed, DATA)
        assert alone.identical(data)
        with pytest.raises(ValueError, match="time_map"):
            make.script("at_a_glance").draw(alone)


def test_two_runs_agree_within_their_own_error_bars():
    one, other = (compare.mean("a", "e", np.asarray([0.9, 1.0, 1.1]) + shift) for shift in (0.0, 0.1))
    far = compare.mean("a", "e", np.asarray([2.9, 3.0, 3.1]))
    assert compare.reproduced(one, other)
    assert not compare.reproduced(one, far)
    text = again.compare([one], [other])
    assert "1 of 1 numbers agree" in text
    assert "NOT reproduced" in again.compare([one], [far])


def test_a_record_of_uncommitted_sources_is_not_kept(tmp_path):
    source = DATA / KEPT[0]
    data, manifest = records.read(source)
    kept = tmp_path / "kept"
    keep.keep(source, kept)
    assert records.read(kept)[0].identical(data)
    dirty = tmp_path / "dirty"
    keep.keep(source, dirty)
    (dirty / "manifest.json").write_text(json.dumps({**manifest, "dirty": True}))
    with pytest.raises(ValueError, match="dirty"):
        keep.keep(dirty, tmp_path / "again")


def test_a_record_that_cannot_be_drawn_is_a_line_and_the_rest_is_drawn(tmp_path, capsys):
    names = ("jacobian", "residual", "robustness")
    for name in names:
        shutil.copytree(DATA / name, tmp_path / "data" / name)
    (tmp_path / "data" / "jacobian" / "manifest.json").write_text("{}")
    data, _ = records.read(DATA / "residual")
    old = data.drop_vars([variable for variable in data.data_vars if not str(variable).startswith("row_")])
    old.to_netcdf(tmp_path / "data" / "residual" / "data.nc", engine="h5netcdf")
    with pytest.raises(SystemExit, match="figures: not drawn: jacobian, residual"):
        make.main(make.Options(names, records=tmp_path / "data", out=tmp_path / "out"))
    said = capsys.readouterr()
    bad, old = said.err.splitlines()
    assert bad.startswith("jacobian: folder must hold a valid manifest")
    assert old.startswith("residual: record ")
    assert old.endswith("it may be of an older version: run python -m sims.residual again")
    assert "1 figures in" in said.out
    assert (tmp_path / "out" / "robustness.png").is_file()


@pytest.mark.slow
def test_from_scratch_runs_the_sim_again_and_compares(tmp_path, capsys):
    from sims import zero_columns

    record = launch.main(zero_columns.SIM, ["--smoke", "--no-figure", "--out", str(tmp_path)])
    committed = tmp_path / "committed" / "zero_columns"
    committed.mkdir(parents=True)
    for name in ("data.nc", "manifest.json"):
        (committed / name).write_bytes((record.folder / name).read_bytes())
    out = tmp_path / "out"
    make.main(make.Options(("zero_columns",), records=committed.parent, out=out, from_scratch=True))
    said = capsys.readouterr().out
    count = len(found.rows("zero_columns", record.read()))
    assert f"{count} of {count} numbers agree with the committed record" in said
    again = records.read(next((out / "records").rglob("manifest.json")).parent)[0]
    assert again.identical(record.read())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (make.Options(("nonsense",)), "unknown figure"),
        (make.Options((), record=DATA), "exactly one"),
        (make.Options(("weights",), keep=True), "--record"),
        (make.Options((), from_scratch=True), "name the figures"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(SystemExit, match=message):
        make.main(options)
