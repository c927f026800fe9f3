"""Every `>>>` in the library runs and prints what it says, and every function that is claimed has one."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import dae_theory

ROOT = Path(__file__).parent.parent
PROMISED = {
    "model": ("Weights", "denoise", "represent"),
    "gaussian": ("bivariate_normal_cdf",),
    "data": ("GaussianMixture", "simplex_mixture", "simplex_means", "Circle", "Sphere", "Torus", "SwissRoll"),
    "theory": ("memorizing_loss", "block_loss"),
    "risk": ("sampled_loss", "network_distance"),
    "training": ("train",),
    "ensemble": ("run",),
    "symmetry": ("merge_parallel",),
    "detection": ("tpr_at_fpr", "bootstrap_interval"),
}


def _modules() -> list[str]:
    return ["dae_theory", *(module.name for module in pkgutil.walk_packages(dae_theory.__path__, "dae_theory."))]


def _slow(name: str) -> bool:
    """Certificates and deep networks compile for seconds, and have tests of their own."""
    return name.startswith(("dae_theory.certify.", "dae_theory.diffusion."))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if _slow(name) else name for name in _modules()]
)
def test_examples_print_what_they_say(name):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as missing:  # a bridge to a framework that is not installed
        assert name.startswith("dae_theory.adapters.")
        pytest.skip(str(missing))
    printed: list[str] = []
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        runner.run(example, out=printed.append)
    assert runner.failures == 0, "".join(printed)


def _claimed() -> set[str]:
    """`module.function` of the claim table's third column."""
    table = (ROOT / "README.md").read_text().split("## Claims", 1)[1].split("\n## ", 1)[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("|")][2:]
    return {name for row in rows for name in re.findall(r"`([\w.]+)`", row[3])}


@pytest.mark.parametrize(
    "name", sorted(_claimed() | {f"{module}.{name}" for module, names in PROMISED.items() for name in names})
)
def test_what_is_claimed_has_an_example(name):
    module, attribute = name.rsplit(".", 1)
    documented = getattr(importlib.import_module(f"dae_theory.{module}"), attribute)
    assert ">>>" in (inspect.getdoc(documented) or ""), f"dae_theory.{name} needs a short example in its docstring"
