"""One static HTML page of everything: pictures, claims with their numbers, errata, the phase diagram to explore.

Nothing in it is fetched: pictures are data URIs, style and script are inlined. All numbers come from the records.
"""

import base64
import html
import importlib
import inspect
import io
import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import matplotlib.pyplot as plt
import xarray as xr
from matplotlib.figure import Figure
from PIL import Image

from dae_theory import compare, records
from figures.records import again, found
from figures.report import errata, explorer
from figures.report.tables import table

HERE = Path(__file__).parent
RESOLUTION = 150  # dots an inch of the pictures: 7 inches on a page of 1000 pixels
HEADER = ("claim", "equation", "predicted", "measured", "z", "verdict")


def write(root: Path, names: Sequence[str], target: Path, pictures: Mapping[str, str] | None = None) -> Path:
    """Write the page for the figures of these names, from the records under `root`.

    `pictures` are data URIs of figures that were drawn before; others are drawn here.
    """
    pictures = pictures or {}
    figures, tables = [], {}
    for name in names:
        data, manifest = found.read(found.folder(root, name), root)
        module = importlib.import_module(f"figures.{name}")
        tables[name] = (module, found.rows(name, data), manifest)
        image = pictures.get(name) or _drawn(module, data)
        figures.append(_figure(name, module, image, tables[name][1], manifest))
    verify = _found(root / "verify")
    cells = _found(root / explorer.CELLS)
    map_ = root / "phase_diagram"
    section = ""
    if (map_ / "manifest.json").is_file():
        section = explorer.section(found.read(map_, root)[0], None if cells is None else cells[0])
    page = Template((HERE / "page.html").read_text()).substitute(
        style=(HERE / "page.css").read_text(),
        script=(HERE / "explorer.js").read_text(),
        overview=_overview(tables),
        navigation=_navigation(names, explorer=bool(section), verify=verify is not None),
        explorer=section,
        figures="\n".join(figures),
        errata="" if verify is None else errata.errata(verify[0]) + _manifest(verify[1]),
        claims="" if verify is None else errata.claims(verify[0]),
        commits=", ".join(sorted({_commit(manifest) for _, _, manifest in tables.values()})),
    )
    records.write_atomically(target, lambda path: path.write_text(page, encoding="utf-8"))
    return target


def _found(folder: Path) -> tuple[xr.Dataset, dict[str, Any]] | None:
    return records.read(folder) if (folder / "manifest.json").is_file() else None


def _figure(name: str, module: Any, image: str, rows: Sequence[compare.Row], manifest: dict[str, Any]) -> str:
    """Claim, picture, numbers, settings."""
    claim, *rest = inspect.getdoc(module).split("\n\n", 1)  # type: ignore[union-attr]
    reading = "".join(f"<p>{html.escape(' '.join(rest[0].split()))}</p>" if rest else "")
    numbers = table(HEADER, map(compare.cells, rows), verdict=5) if rows else _elsewhere(name)
    return (
        f'<section id="figure-{name}"><h2>{html.escape(" ".join(claim.split()))}</h2>'
        f'<p class="origin">figure <code>{name}</code>, record {manifest["name"]}/{manifest["hash"]},'
        f" commit {_commit(manifest)}</p>"
        f'<img alt="{html.escape(claim, quote=True)}" src="{image}">{reading}'
        f"{numbers}{_manifest(manifest)}</section>"
    )


def _elsewhere(name: str) -> str:
    """Where the numbers of a second figure of one record are."""
    other = found.DRAWN_FROM[name]
    return f'<p>Its numbers are those of <a href="#figure-{other}">{other}</a>, drawn from the same record.</p>'


def _drawn(module: Any, data: xr.Dataset) -> str:
    figure = module.draw(data)
    image = picture(figure)
    plt.close(figure)
    return image


def picture(figure: Figure) -> str:
    """The figure as a data URI; lossless, in as few bytes as the browser allows."""
    drawn, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=RESOLUTION, pil_kwargs={"compress_level": 0})
    Image.open(drawn).convert("RGB").save(packed, "WEBP", lossless=True, quality=100, method=4)
    return "data:image/webp;base64," + base64.b64encode(packed.getvalue()).decode()


def _commit(manifest: dict[str, Any]) -> str:
    return (manifest["commit"] or "unknown")[:12] + ("+changes" if manifest["dirty"] else "")


def _manifest(manifest: dict[str, Any]) -> str:
    """Settings and provenance, folded; with the command that makes the record again."""
    command = shlex.join(
        ["python", "-m", f"sims.{manifest['name']}", *again.arguments(manifest["config"] | manifest.get("files", {}))]
    )
    settings = [(key, json.dumps(value, ensure_ascii=False)) for key, value in manifest["config"].items()]
    facts = [(key, json.dumps(value, ensure_ascii=False)) for key, value in manifest.items() if key != "config"]
    tables = table(("setting", "value"), settings) + table(("manifest", "value"), facts)
    return (
        f"<details><summary>settings and manifest</summary><pre>{html.escape(command)}</pre>"
        f'<div class="pair">{tables}</div></details>'
    )


def _overview(tables: dict[str, tuple[Any, Sequence[compare.Row], dict[str, Any]]]) -> str:
    """Figures and how many of their numbers agree; then every number that does not."""
    kinds = ("agrees", "differs", "undecided", "measured")
    lines = []
    for name, (module, rows, _) in tables.items():
        counts = Counter(row.verdict for row in rows)
        claim = html.escape(" ".join(inspect.getdoc(module).split("\n\n")[0].split()))  # type: ignore[union-attr]
        numbers = "".join(f"<td>{counts[kind] or ''}</td>" for kind in kinds)
        lines.append(f'<tr><td><a href="#figure-{name}">{name}</a></td><td>{claim}</td>{numbers}</tr>')
    head = "".join(f"<th>{word}</th>" for word in ("figure", "claim", *kinds))
    body = f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    off = [
        (name, *compare.cells(row))
        for name, (_, rows, _) in tables.items()
        for row in rows
        if row.verdict in ("differs", "undecided")
    ]
    if not off:
        return body
    return f'{body}<h3 id="off">What does not come out as predicted</h3>{table(("figure", *HEADER), off, verdict=6)}'


def _navigation(names: Sequence[str], *, explorer: bool, verify: bool) -> str:
    places = [("all", "all figures")]
    places += [("explorer", "phase diagram, explorable")] if explorer else []
    places += [(f"figure-{name}", name) for name in names]
    places += [("errata", "errata"), ("claims", "all claims")] if verify else []
    return " ".join(f'<a href="#{place}">{html.escape(words)}</a>' for place, words in places)
