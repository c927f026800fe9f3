"""Every figure is drawn from its committed record, carries its origin, and stands on one page with its numbers."""

import base64
import html
import io
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from dae_theory import compare, records
from figures import make
from figures.look import style
from figures.records import found
from figures.report.page import write

DATA = Path(make.__file__).parent / "data"
DRAWN = [name for name in make.available() if (found.folder(DATA, name) / "manifest.json").is_file()]
VOID = {"meta", "link", "img", "br", "input"}


@pytest.fixture(autouse=True)
def _styled():
    with plt.rc_context():
        style.use()
        yield
        plt.close("all")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """`drawn(name)`: path of a figure's PNG, its PDF and its picture for the page beside it, drawn once a session."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "drawn"
    folder.mkdir(exist_ok=True)

    def draw(name: str) -> Path:
        done = folder / f"{name}.txt"
        with FileLock(folder / f"{name}.lock"), plt.rc_context():
            if not done.is_file():
                style.use()
                pictures: dict[str, str] = {}
                make.make(name, found.folder(DATA, name), folder / name, pictures=pictures)
                done.write_text(pictures[name])
        return done.with_suffix(".png")

    return draw


@pytest.fixture(scope="module")
def page(tmp_path_factory, drawn):
    # the first is drawn for the page; from the last on, so that a worker that draws one after the other meets this one
    # half way
    pictures = {name: drawn(name).with_suffix(".txt").read_text() for name in reversed(DRAWN[1:])}
    with plt.rc_context():
        style.use()
        target = write(DATA, DRAWN, tmp_path_factory.mktemp("report") / "report.html", pictures)
    return target.read_text(encoding="utf-8")


def _carries_its_origin(path: Path, name: str) -> None:
    _, manifest = records.read(found.folder(DATA, name))
    with Image.open(path) as picture:
        assert manifest["hash"] in picture.info["Description"]
        assert manifest["commit"] in picture.info["Description"]
    assert manifest["hash"].encode() in path.with_suffix(".pdf").read_bytes()


@pytest.mark.parametrize("name", DRAWN)
def test_figures_draw_and_carry_their_origin(name, drawn):
    _carries_its_origin(drawn(name), name)


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_figures_draw_for_slides(name, tmp_path):
    style.use("slide")
    make.make(name, found.folder(DATA, name), tmp_path / name, "slide")
    _carries_its_origin(tmp_path / f"{name}.png", name)


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
