"""Figures and the report from records: `python -m figures.make [NAME ...]`.

python -m figures.make                              every figure, from the committed records
python -m figures.make --report                     and one HTML page of figures, numbers, errata, phase diagram
python -m figures.make weights --from-scratch       run the sim again, draw, compare with the committed numbers
python -m figures.make weights --record DIR         one figure from one record, into that folder
python -m figures.make --record DIR --keep          take that record among the committed ones
"""

import importlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import matplotlib.pyplot as plt
import tyro
import xarray as xr

from dae_theory import records
from figures.look import style
from figures.records import again, found, keep
from figures.report import page

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Options:
    """Draw figures from saved records, as PNG and PDF that carry the record's hash and the commit."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Figures to draw; none for all that have a record."""
    record: Path | None = None
    """Draw the one named figure from this folder (data.nc, manifest.json), into it."""
    keep: bool = False
    """With --record: copy that record, compressed, to where the committed ones are, under the name of the figure, or
    of its sim where no figure is named."""
    records: Path = HERE / "data"
    """Where NAME/data.nc and NAME/manifest.json are."""
    from_scratch: bool = False
    """Run the named figures' sims again, at the settings of their committed records, and compare the numbers."""
    report: bool = False
    """Write report.html: one page without a server or network, beside the pictures."""
    out: Path = HERE / "out"
    """Where pictures, the report and records made from scratch go."""
    style: Literal["paper", "slide"] = "paper"
    """For a paper's column, or larger for slides."""


def available() -> list[str]:
    """Names of all figure scripts."""
    return sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_") and path.stem != "make")


def script(name: str) -> Any:
    """The module figures/NAME.py."""
    return importlib.import_module(f"figures.{name}")


def make(
    name: str, folder: Path, target: Path, look: str = "paper", *, pictures: dict[str, str] | None = None
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Draw one figure from the record in a folder; returns the record, and adds the report's picture to `pictures`."""
    data, manifest = found.read(folder, HERE / "data")
    expected = found.sim(name)
    if manifest["name"] != expected:
        raise ValueError(f"record must be one of the sim {expected}; {folder} is one of {manifest['name']}")
    try:
        figure = script(name).draw(data.assign_attrs(config=manifest["config"]))  # settings that it may name
    except (KeyError, AttributeError) as error:  # arrays and attributes that records of its time did not have
        lacking = str(error.args[0] if error.args else error).partition(". ")[0]
        words = f"record {folder} lacks what the figure draws ({lacking}); it may be of an older version"
        raise ValueError(f"{words}: run python -m sims.{expected} again") from error
    written = style.save(figure, target, record=manifest["hash"], commit=manifest["commit"], style=look)
    if pictures is not None:
        pictures[name] = page.picture(figure)
    plt.close(figure)
    commit = (manifest["commit"] or "unknown")[:12] + ("+changes" if manifest["dirty"] else "")
    print(f"figure  {written[0]} <- record {manifest['name']}/{manifest['hash']} <- commit {commit}", flush=True)
    return data, manifest


def main(options: Options) -> None:
    """Draw what the options ask for."""
    started = time.perf_counter()
    unknown = [name for name in options.names if name not in available()]
    if unknown:
        sys.exit(f"figures: unknown figure {unknown[0]!r}; there are {', '.join(available())}")
    if options.record is not None and len(options.names) != 1 and not (options.keep and not options.names):
        sys.exit("figures: --record goes with exactly one figure name, or with --keep alone")
    if options.record is not None and not (options.record / "manifest.json").is_file():
        sys.exit(
            f"figures: --record must be a folder with a finished record (data.nc, manifest.json); got {options.record}"
        )
    if options.keep and options.record is None:
        sys.exit("figures: --keep goes with --record")
    if options.from_scratch and not options.names:
        sys.exit("figures: --from-scratch trains nets; name the figures, or give all: " + " ".join(available()))
    jax.config.update("jax_enable_x64", True)
    style.use(options.style)
    try:
        if options.record is not None:
            for name in options.names:
                make(name, options.record, options.record / "figure", options.style)
            if options.keep:
                name = options.names[0] if options.names else records.read(options.record)[1]["name"]
                print(f"kept    {keep.keep(options.record, found.folder(options.records, name))}")
            return
        names = options.names or [name for name in available() if _committed(options, name).is_file()]
        if not names:
            sys.exit(f"figures: no records in {options.records}")
        pictures: dict[str, str] = {}  # of the committed records, so that the report need not draw them again
        done = [name for name in names if _done(options, name, pictures)]
        print(f"{len(done)} figures in {time.perf_counter() - started:.0f} s")
        if options.report and done:
            print(f"report  {page.write(options.records, done, options.out / 'report.html', pictures)}")
    except (ValueError, OSError) as error:
        sys.exit(f"figures: {error}")
    if missing := [name for name in names if name not in done]:
        sys.exit(f"figures: not drawn: {', '.join(missing)}")


def _done(options: Options, name: str, pictures: dict[str, str]) -> bool:
    """Draw one figure of several; a record that cannot be drawn is a line, and the others are drawn all the same."""
    try:
        if options.from_scratch:
            _from_scratch(options, name)
        else:
            drawn = pictures if options.report else None
            make(name, found.folder(options.records, name), options.out / name, options.style, pictures=drawn)
    except (ValueError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        plt.close("all")
        return False
    return True


def _committed(options: Options, name: str) -> Path:
    return found.folder(options.records, name) / "manifest.json"


def _from_scratch(options: Options, name: str) -> None:
    """Run the sim, draw its figure, and say of each headline number whether it came out again."""
    before = records.read(_committed(options, name).parent) if _committed(options, name).is_file() else None
    sim, config = (before[1]["name"], before[1]["config"]) if before else (found.sim(name), {})
    folder = again.run(sim, config, options.out / "records")
    data, _ = make(name, folder, options.out / name, options.style)
    print(again.compare(found.rows(name, before[0]) if before else [], found.rows(name, data)))


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m figures.make", description=(__doc__ or "").replace("\n    ", "\n\n")))
