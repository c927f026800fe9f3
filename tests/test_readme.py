"""What README says is so: its Python runs, its commands exist, and every name in its claim table does."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

from dae_theory import compare, records
from sims import launch, score_model

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
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
    return set(re.findall(r"python -m ([\w.]+)", README))


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


def test_pictures_exist():
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (ROOT / path).is_file(), path


def test_what_is_said_of_the_minimizer_is_in_its_record():
    """Numbers under the first pictures, from the rows of the committed record."""
    data, _ = records.read(ROOT / "figures" / "data" / "global_minimizer")
    rows = {row.claim: row for row in compare.kept(data)}

    def found(*parts: str) -> compare.Row:
        return next(row for claim, row in rows.items() if all(part in claim for part in parts))

    said = " ".join(README.split())
    limit = found("limit of the boundary")
    assert limit.ends is not None
    assert f"n = {limit.measured:.1f} [{limit.ends[0]:.1f}, {limit.ends[1]:.1f}]" in said
    assert f"to a gap of {data.attrs['tolerance']:.0%}".replace("%", " %") in said
    for words, reason in (
        ("longer training brings {} %", ": time"),
        ("exact descent from there {} %", "noise"),
        ("in place of neurons {} %", ": local"),
        ("{} % are left", ": width"),
    ):
        row = found("share of the index", reason)
        assert words.format(f"{100 * row.measured:.0f} ± {100 * (row.sem or 0):.0f}") in said, row
    for which in ("p = 48 after 3000 steps", "p = 128 after 30000 steps"):
        fit, miss = found("R²", which), found("largest miss", which)
        assert f"R² {fit.measured:.2f}, largest miss {miss.measured:.2f}" in said, which


def _table(section: str) -> list[list[str]]:
    """Cells of the rows of the table in a section of README."""
    text = README.split(f"## {section}", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def _sources() -> dict[Path, str]:
    folders = ("dae_theory", "sims", "figures", "tests")
    return {path: path.read_text() for folder in folders for path in (ROOT / folder).rglob("*.py")} | {
        ROOT / "README.md": README
    }


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
