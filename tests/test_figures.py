"""Every figure draws from its committed record, states its numbers, and the report holds all of them on one page."""

import base64
import html
import importlib
import io
import json
import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from PIL import Image

from dae_theory import compare, records
from figures import make
from figures.look import limits, style
from figures.records import again, found, keep, limit
from figures.report.page import write
from sims import launch

DATA = Path(make.__file__).parent / "data"
KEPT = sorted(path.parent.name for path in DATA.glob("*/manifest.json"))
DRAWN = [name for name in make.available() if found.folder(DATA, name).name in KEPT]
VOID = {"meta", "link", "img", "br", "input"}


@pytest.fixture(autouse=True)
def _styled():
    with plt.rc_context():
        style.use()
        yield
        plt.close("all")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with plt.rc_context():
        style.use()
        target = write(DATA, DRAWN, tmp_path_factory.mktemp("report") / "report.html")
    return target.read_text(encoding="utf-8")


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


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("look", ["paper", pytest.param("slide", marks=pytest.mark.slow)])
def test_figures_draw_in_both_styles_and_carry_their_origin(name, look, tmp_path):
    style.use(look)
    _, manifest = make.make(name, found.folder(DATA, name), tmp_path / name, look)
    with Image.open(tmp_path / f"{name}.png") as picture:
        assert manifest["hash"] in picture.info["Description"]
        assert manifest["commit"] in picture.info["Description"]
    assert manifest["hash"].encode() in (tmp_path / f"{name}.pdf").read_bytes()


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


class _Checker(HTMLParser):
    """Open and close tags match; ids are unique; addresses are collected."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.addresses, self.styles = [], [], [], []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.addresses += [given[name] for name in ("src", "href", "action", "data") if name in given]
        self.ids += [given["id"]] if "id" in given else []
        self.styles.append(given.get("style") or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_fetches_nothing(page):
    checker = _Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    assert len(set(checker.ids)) == len(checker.ids)
    local = {f"#{name}" for name in checker.ids}
    assert [a for a in checker.addresses if not a.startswith("data:") and a not in local] == []
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", page) == []
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|<script[^>]+src", page)
    assert len(page.encode()) < 5_000_000


@pytest.mark.parametrize("name", DRAWN)
def test_the_page_has_every_figure_with_its_claim_and_numbers(name, page):
    data, manifest = records.read(found.folder(DATA, name))
    section = page.split(f'<section id="figure-{name}">', 1)[1].split("</section>", 1)[0]
    assert manifest["hash"] in section
    assert manifest["commit"][:12] in section
    claim = " ".join(make.script(name).__doc__.split("\n\n")[0].split())
    assert html.escape(claim) in section
    (picture,) = re.findall(r'src="data:image/webp;base64,([^"]+)"', section)
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        assert np.ptp(np.asarray(image.convert("L"))) > 200
    for row in found.rows(name, data):
        for cell in compare.cells(row):
            assert html.escape(cell) in section


def test_the_page_has_the_errata_and_every_claim(page):
    data, _ = records.read(DATA / "verify")
    rows = compare.kept(data)
    for row in rows:
        assert html.escape(row.claim) in page
    errata = page.split('<section id="errata">', 1)[1].split("</section>", 1)[0]
    printed = [row for row in rows if row.printed is not None]
    assert {row.erratum for row in printed} == set(range(1, 8))
    for row in printed:
        assert html.escape(row.claim) in errata


def test_the_page_knows_every_cell_of_the_phase_diagram(page):
    data, _ = records.read(DATA / "phase_diagram")
    cells, _ = records.read(DATA / "phase_cells")
    facts = json.loads(page.split('id="facts">', 1)[1].split("</script>", 1)[0])
    x, y = data.attrs["x"], data.attrs["y"]
    assert facts["x"]["values"] == data[x].values.tolist()
    assert facts["y"]["values"] == data[y].values.tolist()
    count = data.sizes[x] * data.sizes[y]
    assert page.count('class="cell"') == len(facts["cells"]) == count
    (index,) = [shown for shown in facts["observables"] if shown["name"] == "train_index"]
    expected = data["train_index"].mean("seed").transpose(y, x).values.ravel()
    np.testing.assert_allclose(index["mean"], expected, rtol=1e-3)
    opened = cells["columns"].transpose(y, x, ...).values.reshape(count, *cells["columns"].shape[2:])
    for cell, columns in zip(facts["cells"], opened, strict=True):
        alive = columns[np.any(columns != 0, axis=1)]
        shown = np.reshape(cell["columns"], (-1, columns.shape[1])) * cell["size"] / 99
        assert shown.shape == alive.shape
        np.testing.assert_allclose(
            np.sort(np.linalg.norm(shown, axis=1)),
            np.sort(np.linalg.norm(alive, axis=1)),
            atol=cell["size"] / 99 * np.sqrt(columns.shape[1]),
        )


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
