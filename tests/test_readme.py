"""What README says is so: its Python runs, its commands exist, and every name in its claim table does."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_python_blocks_run(number, capsys):
    exec(compile(BLOCKS[number], f"README block {number}", "exec"), {})
    assert capsys.readouterr().out


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
        assert (ROOT / (name.replace(".", "/") + ".py")).is_file(), name


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
