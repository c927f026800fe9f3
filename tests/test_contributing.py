"""CONTRIBUTING's sim and figure, as a newcomer copies them, run; the other documents say this version."""

import importlib.util
import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import dae_theory
from sims import launch

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
SIM, FIGURE = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


def _module(source: str, folder: Path, monkeypatch):
    """The block as the module stored_loss.py of a folder."""
    folder.mkdir()
    path = folder / "stored_loss.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("stored_loss", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "stored_loss", module)  # where dataclasses look their annotations up
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_sim_and_the_figure_to_copy_run(tmp_path, capsys, monkeypatch):
    sim = _module(SIM, tmp_path / "sims", monkeypatch)
    record = launch.main(sim.SIM, ["--smoke", "--no-figure", "--out", str(tmp_path)])
    said = capsys.readouterr().out
    assert "agrees" in said  # at small noise
    assert "differs" in said  # gates err at large noise, as the text says
    figure = _module(FIGURE, tmp_path / "figures", monkeypatch).draw(record.read())
    assert len(figure.axes[0].lines) == 2
    plt.close(figure)


def test_both_blocks_are_short():
    lines = [line for block in (SIM, FIGURE) for line in block.splitlines() if line.strip()]
    assert len(lines) < 60


@pytest.mark.parametrize("name", ["CITATION.cff", "CHANGELOG.md"])
def test_documents_name_this_version(name):
    assert re.search(rf"^(version: |## ){re.escape(dae_theory.__version__)}\b", (ROOT / name).read_text(), re.MULTILINE)


def test_commands_and_files_that_are_named_exist():
    for name in re.findall(r"python -m ([\w.]+)", TEXT):
        module = name.replace(".", "/")
        assert "stored_loss" in name or (ROOT / f"{module}.py").is_file(), name
    for name in re.findall(r"`((?:tests|docs|dae_theory|figures)/\w+\.\w+)`", TEXT):
        assert "NAME" in name or "stored_loss" in name or (ROOT / name).is_file(), name
