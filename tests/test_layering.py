"""Arrows run one way: the import graph, read from the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOOR = {"checks", "model", "gaussian", "noise", "randomness", "grid", "files", "chunks", "records"}
SIMULATOR = {"training", "ensemble", "certify", "dynamics"}


def _imports(path: Path) -> set[str]:
    """Dotted names of what a file imports, `from a import b` as a.b."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def _files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def _inside(name: str, target: str) -> bool:
    return name == target or name.startswith(f"{target}.")


def _arrows(package: str, forbidden: set[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in _files(package)
        for name in sorted(_imports(path))
        if any(_inside(name, target) for target in forbidden)
    ]


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("dae_theory", {"sims", "figures", "matplotlib", "tyro", "argparse"}),
        ("dae_theory/theory", {f"dae_theory.{name}" for name in SIMULATOR}),
        ("figures", {"sims"} | {f"dae_theory.{name}" for name in SIMULATOR}),
        ("sims", {"figures", "matplotlib"}),
        ("sims/launch", {"sims.worlds", "sims.nets", "sims.measures"}),
        ("sims/worlds", {"sims.nets", "sims.measures"}),
        ("sims/nets", {"sims.measures"}),
    ],
)
def test_no_arrow_runs_the_wrong_way(package, forbidden):
    assert _files(package)
    assert _arrows(package, forbidden) == []


def test_the_simulator_never_imports_theory():
    wrong = [
        f"{name} imports theory"
        for name in SIMULATOR
        for pattern in (f"{name}*.py", f"{name}/*.py")
        for path in (ROOT / "dae_theory").glob(pattern)
        for imported in _imports(path)
        if _inside(imported, "dae_theory.theory")
    ]
    assert wrong == []


def test_the_floor_knows_no_scientific_question():
    wrong = [
        f"{name} imports {imported}"
        for name in FLOOR
        for imported in _imports(ROOT / "dae_theory" / f"{name}.py")
        if imported.startswith("dae_theory.") and imported.split(".")[1] not in FLOOR | {"bivariate", "__version__"}
    ]
    assert wrong == []


def test_bad_input_is_refused_by_the_type_that_commands_catch():
    bare = [str(path) for package in ("dae_theory", "sims") for path in _files(package) if _raises(path, "ValueError")]
    assert bare == []


def _raises(path: Path, name: str) -> bool:
    """Whether a file raises an exception of this name, built where it is raised."""
    raised = (node.exc for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Raise))
    return any(isinstance(one, ast.Call) and ast.unparse(one.func) == name for one in raised)


def test_importing_the_package_touches_no_device_and_no_setting():
    import subprocess
    import sys

    code = (
        "import jax; before = dict(jax.config.values)\n"
        "import dae_theory, importlib, pkgutil\n"
        "for module in pkgutil.walk_packages(dae_theory.__path__, 'dae_theory.'):\n"
        "    if not module.name.startswith('dae_theory.adapters.'): importlib.import_module(module.name)\n"
        "assert dict(jax.config.values) == before, 'configuration changed'\n"
        "from jax._src import xla_bridge\n"
        "assert not xla_bridge._backends, 'a device was touched'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
