"""What `import dae_theory` gives: every module by its name, nothing before it is asked for."""

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import dae_theory

ROOT = Path(__file__).parent.parent


def test_every_module_is_named():
    found = [module.name for module in pkgutil.iter_modules(dae_theory.__path__)]
    assert sorted(found) == dae_theory.__all__, "add the new module to __all__ and to the imports above it"
    assert set(found) < set(dir(dae_theory))


def test_what_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'theories'"):
        _ = dae_theory.theories


def test_modules_come_when_they_are_asked_for():
    code = (
        "import sys, dae_theory as dae\n"
        "assert not [name for name in sys.modules if name.startswith('dae_theory.') or name == 'jax'], 'eager'\n"
        "dae.theory.memorizing_weights\n"
        "assert 'dae_theory.theory' in sys.modules and 'dae_theory.training' not in sys.modules\n"
        "from jax._src import xla_bridge\n"
        "assert not xla_bridge._backends, 'a device was touched'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_it_says_that_it_is_typed():
    assert (Path(dae_theory.__file__).parent / "py.typed").is_file()  # hatch packs every file of the package
