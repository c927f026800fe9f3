"""The API page: `python -m docs.build` writes docs/out, which any browser opens without a network.

Central equations stand in module docstrings as $$LaTeX$$. Each becomes MathML here, which browsers typeset by
themselves: nothing is loaded and no script is needed to read it. A warning of pdoc's, an equation that does not
convert and an option that is unknown are errors.
"""

import argparse
import importlib.util
import re
import shutil
import warnings
from pathlib import Path

import latex2mathml.converter
import pdoc
import pdoc.render
import pygments
from jax.typing import ArrayLike
from pdoc import render_helpers

import dae_theory
from dae_theory import adapters

EQUATION = re.compile(r"^\$\$(.+?)\$\$$", re.DOTALL | re.MULTILINE)


def typeset(docstring: str) -> str:
    """The docstring with every $$…$$ that stands on lines of its own as a block of MathML."""

    def block(found: re.Match[str]) -> str:
        latex = " ".join(found[1].split())
        return f'<div class="equation">{latex2mathml.converter.convert(latex, display="block")}</div>'

    text = EQUATION.sub(block, docstring)
    if "$$" in text:
        raise ValueError(f"an equation must begin and end with $$ on lines of its own; got {docstring!r}")
    return text


def _as_in_the_source() -> dict[str, str]:
    """What pdoc makes of the types of arrays, in signatures (coloured) and attributes (plain), and what was written."""
    union = re.sub(r"\btyping\.", "", str(ArrayLike))
    names = {f"{union[:-1]}, NoneType]": "ArrayLike | None", union: "ArrayLike"}
    prefixes = ("jaxtyping.", "jaxlib._jax.")

    def coloured(code: str) -> str:
        return pygments.highlight(code, render_helpers.lexer, render_helpers.signature_formatter).strip()

    coloured_names = {coloured(long): short for long, short in names.items()}
    coloured_prefixes = {coloured(f"{prefix}A").removesuffix(coloured("A")): "" for prefix in prefixes}
    return names | coloured_names | coloured_prefixes | dict.fromkeys(prefixes, "")


def build(out: Path) -> list[str]:
    """Write the pages of every module that can be imported here; returns the bridges whose package is missing."""
    bridges = list(adapters.__all__)
    missing = [
        name for name in bridges if importlib.util.find_spec("torch") is None or not importlib.util.find_spec(name)
    ]
    pdoc.render.configure(
        docformat="google",
        footer_text=f"dae_theory {dae_theory.__version__}",
        template_directory=Path(__file__).parent / "templates",
    )
    to_html = pdoc.render.env.filters["to_html"]
    pdoc.render.env.filters["to_html"] = lambda docstring: to_html(typeset(docstring))
    shutil.rmtree(out, ignore_errors=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adapters.__all__[:] = [name for name in bridges if name not in missing]
        try:
            pdoc.pdoc("dae_theory", output_directory=out)
        finally:
            adapters.__all__[:] = bridges
    for page in out.rglob("*.html"):
        text = page.read_text()
        for long, short in _as_in_the_source().items():
            text = text.replace(long, short)
        page.write_text(text)
    return missing


def main() -> None:
    """Read the command line, write the pages, say what is missing."""
    parser = argparse.ArgumentParser(prog="python -m docs.build", description="Write the API page.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out", help="folder, emptied first")
    out = parser.parse_args().out
    for module in build(out):
        print(f"left out, since its extra is not installed: dae_theory.adapters.{module}")
    print(f"open {out / 'index.html'}")


if __name__ == "__main__":
    main()
