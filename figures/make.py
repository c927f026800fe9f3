"""Draw figures from records: `python -m figures.make [NAME ...]`.

python -m figures.make                            every figure, from the committed records
python -m figures.make phase_diagram --record DIR one figure from one record, into that folder
"""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import matplotlib.pyplot as plt
import tyro

from dae_theory import records
from figures import _style

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Options:
    """Draw figures from saved records, as PNG and PDF that carry the record's hash and the commit."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Figures to draw; none for all that have a committed record."""
    record: Path | None = None
    """Draw the one named figure from this folder (data.nc, manifest.json), into it."""
    records: Path = HERE / "data"
    """Where NAME/data.nc and NAME/manifest.json are."""
    out: Path = HERE / "out"
    """Where pictures go."""
    style: Literal["paper", "slide"] = "paper"


def available() -> list[str]:
    """Names of all figure scripts."""
    return sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_") and path.stem != "make")


def make(name: str, folder: Path, target: Path) -> list[Path]:
    """Draw one figure from the record in a folder; returns the files written."""
    data, manifest = records.read(folder)
    figure = importlib.import_module(f"figures.{name}").draw(data)
    written = _style.save(figure, target, record=manifest["hash"], commit=manifest["commit"])
    plt.close(figure)
    commit = (manifest["commit"] or "unknown")[:12] + ("+changes" if manifest["dirty"] else "")
    print(f"figure  {written[0]} <- record {manifest['name']}/{manifest['hash']} <- commit {commit}")
    return written


def main(options: Options) -> None:
    """Draw what the options ask for."""
    unknown = [name for name in options.names if name not in available()]
    if unknown:
        sys.exit(f"figures: unknown figure {unknown[0]!r}; there are {', '.join(available())}")
    if options.record is not None and len(options.names) != 1:
        sys.exit("figures: --record goes with exactly one figure name")
    _style.use(options.style)
    try:
        if options.record is not None:
            make(options.names[0], options.record, options.record / "figure")
            return
        names = options.names or [name for name in available() if (options.records / name / "manifest.json").is_file()]
        if not names:
            sys.exit(f"figures: no records in {options.records}")
        for name in names:
            make(name, options.records / name, options.out / name)
    except ValueError as error:
        sys.exit(f"figures: {error}")


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m figures.make", description=__doc__))
