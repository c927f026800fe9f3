"""What README and docs say is so: Python runs, commands, names, pictures and links exist, numbers are in records."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

from dae_theory import compare, records
from sims import launch, score_model

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
FINDINGS = (ROOT / "docs" / "findings.md").read_text()
PAGES = {path: path.read_text() for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))}
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture
def saved_activations(tmp_path, monkeypatch):
    """A working directory with the file that README's scoring example reads; the answer is known in one layer."""
    draws, memorized = np.random.default_rng(0), np.arange(60) < 20
    spiky = np.where(memorized[:, None], np.eye(16)[np.arange(60) % 16], draws.random((60, 16)))
    np.savez(tmp_path / "activations.npz", early=draws.random((60, 8)), late=spiky, memorized=memorized)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_python_blocks_run(number, capsys, saved_activations):
    names = {}
    exec(compile(BLOCKS[number], f"README block {number}", "exec"), names)
    assert capsys.readouterr().out
    if "found" in names:  # what the text below that block says
        assert names["found"].cosine.shape == (5,)
        assert np.all(np.asarray(names["found"].cosine) > 0.999)
        np.testing.assert_allclose(names["found"].norm_ratio, 1, atol=0.01)
        assert names["certificate"].gradient_norm < 1e-13
        assert names["certificate"].verdict.startswith("global minimum")


def test_the_scoring_command_prints_the_same_scores(capsys, saved_activations):
    launch.main(score_model.SIM, ["--activations", "activations.npz", "--no-figure"])
    command = capsys.readouterr().out
    assert "python -m sims.score_model --activations activations.npz" in README
    (block,) = [block for block in BLOCKS if "activations.npz" in block]
    exec(compile(block, "README, scoring", "exec"), {})
    areas = [
        re.findall(r"^(\S+/\S+) +([\d.]+)", text, flags=re.MULTILINE) for text in (command, capsys.readouterr().out)
    ]
    assert len(areas[0]) == 12
    assert ("late/participation_ratio", "1.000") in areas[0]
    # the halves differ, so only what does not depend on them can be equal
    assert [name for name, _ in areas[0]] == [name for name, _ in areas[1]]
    assert ("late/participation_ratio", "1.000") in areas[1]


def test_there_are_blocks_commands_and_claims():
    assert BLOCKS
    assert _commands()
    assert _claims()


def _commands() -> set[str]:
    return set(re.findall(r"python -m ([\w.]+)", README + FINDINGS))


def _claims() -> list[list[str]]:
    table = README.split("## Claims", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_commands_are_modules_of_this_checkout():
    for name in _commands():
        path = ROOT / name.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), name


def test_every_name_in_the_claim_table_exists():
    for _claim, _equation, functions, sims, figures, tests in _claims():
        for name in re.findall(r"`([\w.]+)`", functions):
            module, attribute = name.rsplit(".", 1)
            assert hasattr(importlib.import_module(f"dae_theory.{module}"), attribute), name
        for folder, cell in (("sims", sims), ("figures", figures), ("tests", tests)):
            for name in re.findall(r"`(\w+)`", cell):
                assert (ROOT / folder / f"{name}.py").is_file(), f"{folder}/{name}.py"


def _anchors(text: str) -> set[str]:
    """What a page's headings are called in addresses."""
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_pictures_and_links_lead_somewhere(page):
    for address in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        name, _, anchor = address.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_file(), address
        assert not anchor or anchor in _anchors(target.read_text()), address


def test_records_that_the_findings_name_are_kept():
    names = set(re.findall(r"`(\w+)`", FINDINGS)) - {"code", "NAME"}
    assert len(names) > 10
    for name in names:
        assert (ROOT / "figures" / "data" / name / "manifest.json").is_file(), name


def _rows(record: str) -> dict[str, compare.Row]:
    """What the committed record says, by claim."""
    return {row.claim: row for row in compare.kept(records.read(ROOT / "figures" / "data" / record)[0])}


def _found(rows: dict[str, compare.Row], *parts: str) -> compare.Row:
    return next(row for claim, row in rows.items() if all(part in claim for part in parts))


def _interval(row: compare.Row, digits: int) -> str:
    assert row.ends is not None
    return f"{row.measured:.{digits}f} [{row.ends[0]:.{digits}f}, {row.ends[1]:.{digits}f}]"


def _line(text: str, *parts: str) -> list[str]:
    """Cells of the one row of a table that has all parts."""
    (line,) = [line for line in text.splitlines() if line.startswith("|") and all(part in line for part in parts)]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_what_is_said_of_the_minimizer_is_in_its_record():
    rows = _rows("global_minimizer")
    limit = f"n = {_interval(_found(rows, 'limit of the boundary'), 1)}"
    gap = records.read(ROOT / "figures" / "data" / "global_minimizer")[0].attrs["tolerance"]
    assert limit in " ".join(README.split())
    assert limit in " ".join(FINDINGS.split())
    assert f"to a gap of {gap:.0%}".replace("%", " %") in " ".join(FINDINGS.split())
    for words, reason in (
        ("ten times longer training", ": time"),
        ("exact descent from there", "noise"),
        ("newcomers in place of neurons", ": local"),
        ("what is left", ": width"),
    ):
        row = _found(rows, "share of the index", reason)
        assert _line(FINDINGS, words)[1] == f"{100 * row.measured:.0f} ± {100 * (row.sem or 0):.0f} %", row
    for words, which in (("p = 48 after 3,000", "p = 48 after 3000"), ("p = 128 after 30,000", "p = 128 after 30000")):
        fit, miss = _found(rows, "R²", f"{which} steps"), _found(rows, "largest miss", f"{which} steps")
        for text in (README, FINDINGS):
            assert _line(text, words)[2:4] == [f"{fit.measured:.2f}", f"{miss.measured:.2f}"], which


def test_boundaries_are_those_of_their_records():
    said = " ".join(README.split())
    for claim, row in _rows("phase_diagram").items():
        if claim.startswith("boundary"):
            p = re.findall(r"p = (\d+)", claim)[0]
            assert _line(FINDINGS, f"| {p} |")[1] == _interval(row, 1)
            assert _interval(row, 1) in said or p not in ("12", "48")
    for claim, row in _rows("phase_times").items():
        p, steps = map(int, re.findall(r"p = (\d+), steps = (\d+)", claim)[0])
        assert _line(FINDINGS, f"| {steps:,} |", "none yet" if steps == 200 else "[")[1 + (p == 48)] == _interval(
            row, 1
        )
        assert _interval(row, 1) in said or p != 48


def test_exponents_are_those_of_their_records():
    for record in ("memorization_time", "memorization_time_long", "memorization_time_images", "time_map"):
        rows = _rows(record)
        for claim, row in rows.items():
            if "exponent" not in claim or "dam" not in claim:
                continue
            nets = [part.replace("0.0001", "1e-4").replace("0.001", "1e-3") for part in claim.split(", ")[1:]]
            place, digits = (3, 2) if "τ_gen" in claim else (4, 1)
            expected = "undecided" if row.ends is None else _interval(row, digits)
            assert _line(FINDINGS, f"| `{record}` |", *nets)[place] == expected, claim


def _short(estimate: float, low: float, high: float) -> str:
    number, *ends = (f"{value:.2f}".removeprefix("0") for value in (estimate, low, high))
    return f"{number} [{', '.join(ends)}]"


def test_the_collapse_is_that_of_its_record():
    rows = _rows("finite_size")
    best, plain = (_found(rows, f"collapse over {scale}") for scale in ("n/(K (rank + 1))", "n"))
    numbers = " against ".join(_short(row.measured, *(row.ends or ())) for row in (best, plain))
    assert f"Q {numbers}" in README
    assert f"Q is {numbers}" in FINDINGS


def test_scores_are_those_of_the_record_of_confounders():
    data, _ = records.read(ROOT / "figures" / "data" / "confounders")
    table = FINDINGS.split("## Which score fools whom", 1)[1].split("\n## ", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"][2:]
    scores = ("loss", "local dimension", "std", "gini", "score norm", "flattest")
    assert len(rows) == len(scores) * data.sizes["net"]
    for k, (score, net) in enumerate((score, net) for score in scores for net in range(data.sizes["net"])):
        at = data.sel(score=score).isel(net=net)
        worst = at["together"].isel(against=int(np.argmin(at["together"].sel(bound="estimate").values)))
        assert rows[k][2] == _short(*at["finds"].sel(against="ordinary").values), (score, net)
        assert rows[k][3].startswith(_short(*worst.values)), (score, net)


def test_speed_is_that_of_the_record_of_the_benchmark():
    data, _ = records.read(ROOT / "figures" / "data" / "benchmark")
    rows = {(row.claim, row.label): row for row in compare.kept(data)}
    section = README.split("## How fast?", 1)[1].split("\n## ", 1)[0]
    sizes = [str(size) for size in data["size"].values]
    assert len(sizes) == 3
    for size in sizes:
        _, share, loop, vmap = _line(section, f"| {size} |")
        for cell, claim in (
            (share, "share of the rate of one product of two matrices"),
            (loop, "times as fast as PyTorch loop"),
            (vmap, "times as fast as torch.func.vmap"),
        ):
            row = rows[f"ensemble, hashed: {claim}", f"n/d/p = {size}"]
            shown = [float(number) for number in re.findall(r"[\d.]+", cell)]
            np.testing.assert_allclose(shown, [row.measured, *row.ends], rtol=0.06)
    first, again = (data.sel(start=start) for start in data["start"].values[:2])
    assert f"{float(first['map_first_progress']):.0f} s" in section
    assert f"{float(again['map_start']):.0f} s" in section


def test_intervals_in_readme_are_among_the_findings():
    """What a section of README repeats is said in full there, in the same digits."""
    intervals = set(re.findall(r"\d*\.\d+ \[[\d.]+, [\d.]+\]", " ".join(README.split("## The model", 1)[0].split())))
    assert len(intervals) > 15
    assert intervals <= set(re.findall(r"\d*\.\d+ \[[\d.]+, [\d.]+\]", " ".join(FINDINGS.split())))


def _table(section: str) -> list[list[str]]:
    """Cells of the rows of the table in a section of README."""
    text = README.split(f"## {section}", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def _sources() -> dict[Path, str]:
    folders = ("dae_theory", "sims", "figures", "tests")
    return {path: path.read_text() for folder in folders for path in (ROOT / folder).rglob("*.py")} | PAGES


def test_every_label_of_ours_is_in_the_table_of_additions():
    known = {row[0] for row in _table("Additions")}
    for path, text in _sources().items():
        assert set(re.findall(r"\[X\d+\]", text)) <= known, path


def test_every_erratum_is_in_the_table_of_errata():
    known = {row[0] for row in _table("Errata")}
    for path, text in _sources().items():
        found = set(re.findall(r"(?:erratum[ =]|Erratum )(\d+)", text))
        assert found <= known, path


def test_functions_and_commands_of_the_glossary_exist():
    for _label, _formula, functions in _table("Additions"):
        for name in re.findall(r"`([\w.]+)`", functions):
            module, attribute = name.rsplit(".", 1)
            assert hasattr(importlib.import_module(f"dae_theory.{module}"), attribute), name
    for *_, evidence in _table("Errata"):
        assert evidence
        for name in re.findall(r"`sims\.(\w+)`", evidence):
            assert (ROOT / "sims" / f"{name}.py").is_file(), name


def test_no_paragraph_sign_stands_for_a_label():
    """Labels are equations and [X…]; a paragraph's number leads nowhere a reader can go."""
    for path, text in _sources().items():
        if path.parts[-2] != "tests":
            assert "\N{SECTION SIGN}" not in text, path
