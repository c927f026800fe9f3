"""Every `>>>` in the library runs and prints what it says, and every function that is claimed or alone has one."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
from collections import Counter
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
    "certify": ("global_minimizer",),
    "dynamics": ("gradient_flow", "generalizing_time", "memorizing_time"),
    "symmetry": ("merge_parallel",),
    "detection": ("tpr_at_fpr", "bootstrap_interval"),
}


def _modules() -> list[str]:
    return ["dae_theory", *(module.name for module in pkgutil.walk_packages(dae_theory.__path__, "dae_theory."))]


def _slow(name: str) -> bool:
    """Certificates, flows and deep networks compile for seconds, and have tests of their own."""
    return name.startswith(("dae_theory.certify.", "dae_theory.diffusion.", "dae_theory.dynamics.flow"))


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


def test_what_nothing_uses_is_shown():
    """A public function that neither library nor sims nor figures call is there for users: an example says how."""
    trees = {path: ast.parse(path.read_text()) for path in (ROOT / "dae_theory").rglob("*.py")}
    callers = [ast.parse(path.read_text()) for folder in ("sims", "figures") for path in (ROOT / folder).rglob("*.py")]
    used: Counter[str] = Counter()
    for tree in [*trees.values(), *callers]:
        for node in ast.walk(tree):
            used[node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""] += 1
    public = [
        (path, node)
        for path, tree in trees.items()
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
    ]
    unseen = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path, node in public
        if not used[node.name] and ">>>" not in (ast.get_docstring(node) or "")
    ]
    assert len(public) > 200
    assert unseen == [], "show by an example how it is used, or let it go"
