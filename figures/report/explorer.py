"""The phase diagram to explore: a map as SVG, and as JSON what the page shows of the cell under the pointer.

The map and its numbers come from the record `phase_diagram`, columns and representations from `phase_cells`, which
holds one net a cell. `explorer.js` draws the details of a cell from the JSON.
"""

import html
import json
from collections.abc import Callable, Sequence
from typing import Any

import contourpy
import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.colors import LogNorm, Normalize, to_hex

from figures import phase_diagram
from figures.look import limits as ends
from figures.look import style

CELLS = "phase_cells"
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 380, 64, 52, 8
OTHERS = (
    ("test_participation_ratio", "participation ratio, fresh points"),
    ("train_participation_ratio", "participation ratio, training points"),
    ("stored_samples", "share of samples with a neuron of their own"),
    ("neurons", "distinct neurons after merging"),
    ("memorized_null", "the rule's own rate on fresh points (null)"),
    ("train_exact_loss", "exact training loss"),
    ("population_loss", "exact loss of the population"),
)  # observables beside the panels of the figure, where the record has them
DASHES = {"-": "", "--": "6 3", "-.": "7 3 1.5 3", ":": "1.5 2.5"}


def section(data: xr.Dataset, cells: xr.Dataset | None) -> str:
    """HTML of the map, its controls, and the JSON behind them; empty for a diagram of three axes."""
    if data.attrs["z"]:
        return ""
    shown = _observables(data)
    x, y = (data[data.attrs[axis]] for axis in "xy")
    facts = {
        "x": {"name": x.name, "label": _plain(x.attrs["label"]), "values": x.values.tolist()},
        "y": {"name": y.name, "label": _plain(y.attrs["label"]), "values": y.values.tolist()},
        "seeds": data.sizes["seed"],
        "observables": shown,
        "directions": None if cells is None else int(cells.attrs["directions"]),
        "cells": [] if cells is None else _opened(cells),
    }
    # "</" would end the script element
    text = json.dumps(facts, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("</", "<\\/")
    options = "".join(f'<option value="{k}">{html.escape(one["words"])}</option>' for k, one in enumerate(shown))
    return (
        f'<label>colour: <select id="observable">{options}</select></label>'
        f' <span id="bar" style="background:linear-gradient(90deg,{_gradient()})"></span> <span id="scale"></span>'
        f'<div class="explorer"><div id="fixed">{_map(data)}{_legend(data)}</div>'
        '<div><div id="readout" aria-live="polite">Point at a cell for its numbers; click it, or move with the arrow'
        ' keys, to open its net.</div><div id="detail"></div></div></div>'
        f'<script type="application/json" id="facts">{text}</script>'
    )


def _observables(data: xr.Dataset) -> list[dict[str, Any]]:
    """Mean, SEM and colour of every cell, row by row of the map (y, then x)."""
    x, y = data.attrs["x"], data.attrs["y"]
    chosen = [(name, title, limits) for name, title, _, limits in phase_diagram.PANELS]
    chosen += [(name, words, None) for name, words in OTHERS if name in data]
    result = []
    for name, words, limits in chosen:
        values = data[name].transpose(y, x, "seed")
        mean = values.mean("seed").values.ravel()
        sem = (values.std("seed", ddof=1) / np.sqrt(values.sizes["seed"])).values.ravel()
        finite = mean[np.isfinite(mean)]
        logarithmic = bool(limits is None and finite.min() > 0 and finite.max() > 20 * finite.min())
        low, high = limits or (finite.min(), finite.max())
        norm = LogNorm(low, high) if logarithmic else Normalize(low, high)
        colors = [to_hex(color) for color in mpl.colormaps["cividis"](norm(np.nan_to_num(mean, nan=low)).clip(0, 1))]
        result.append(
            {
                "name": name,
                "words": _plain(words),
                "low": _digits(low),
                "high": _digits(high),
                "log": logarithmic,
                "mean": [_digits(value) for value in mean],
                "sem": [_digits(value) for value in sem],
                "color": colors,
            }
        )
    return result


def _opened(cells: xr.Dataset) -> list[dict[str, Any]]:
    """Columns and representations of every cell's net, as whole numbers and one scale."""
    x, y, directions = (cells.attrs[name] for name in ("x", "y", "directions"))
    cells = cells.stack(cell=(y, x)).transpose("cell", ...)
    opened = []
    for k in range(cells.sizes["cell"]):
        at = cells.isel(cell=k)
        count = int(at["alive"])
        columns = at["columns"].values[:count]
        # neurons of one component side by side, larger ones first
        energy = np.add.reduceat(columns[:, :-1] ** 2, np.arange(0, columns.shape[1] - 1, directions), axis=1)
        order = np.lexsort((-np.sum(columns**2, axis=1), np.argmax(energy, axis=1)))
        columns, size = _whole(columns[order])
        train, train_size = _whole(at["train_representation"].values[:, :count][:, order])
        fresh, fresh_size = _whole(at["fresh_representation"].values[:, :count][:, order])
        opened.append(
            {
                "columns": columns,
                "size": size,
                "train": train,
                "trainSize": train_size,
                "fresh": fresh,
                "freshSize": fresh_size,
                "onSample": [_digits(v, 3) for v in at["on_sample"].values[:count][order]],
            }
        )
    return opened


def _whole(values: np.ndarray) -> tuple[list[list[int]], float]:
    """Values as whole numbers up to 99, and the size of 99."""
    size = float(np.max(np.abs(values), initial=0)) or 1.0
    return np.rint(values / size * 99).astype(int).tolist(), _digits(size) or 1.0


def _map(data: xr.Dataset) -> str:
    """Cells, theory's lines, the measured boundary with its bands, ticks."""
    x, y = (data[data.attrs[axis]] for axis in "xy")
    across, up = _Scale(x.values, LEFT, WIDTH - 6), _Scale(y.values, HEIGHT - BOTTOM, TOP)
    parts = []
    for row, (bottom, top) in enumerate(zip(up.edges[:-1], up.edges[1:], strict=True)):
        for column, (left, right) in enumerate(zip(across.edges[:-1], across.edges[1:], strict=True)):
            k = row * len(x) + column
            parts.append(
                f'<rect class="cell" data-k="{k}" x="{left:.1f}" y="{top:.1f}" width="{right - left + 0.4:.1f}"'
                f' height="{bottom - top + 0.4:.1f}"/>'
            )
    for name, look in style.LINE_LOOKS.items():
        for line in _contour(data, name):
            path = " ".join(f"{across(px):.1f},{up(py):.1f}" for px, py in line)
            parts.append(f'<polyline points="{path}" {_stroke(look)}/>')
    parts += _limit(data, across)
    parts += [_point(across(place), up(value), across(low), across(high)) for value, place, low, high in _found(data)]
    parts += ['<rect id="chosen" x="0" y="0" width="0" height="0"/>']
    for value in x.values:
        parts.append(f'<text x="{across(value):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{value:g}</text>')
    for value in y.values:
        parts.append(f'<text x="{LEFT - 6}" y="{up(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    middle = (HEIGHT - BOTTOM) / 2
    parts += [
        f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{_plain(x.attrs["label"])}</text>',
        f'<text transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">{_plain(y.attrs["label"])}</text>',
    ]
    return (
        f'<svg id="map" viewBox="0 0 {WIDTH} {HEIGHT}" tabindex="0" role="application"'
        f' aria-label="phase diagram; arrow keys choose a cell">{"".join(parts)}</svg>'
    )


class _Scale:
    """Logarithmic axis from values to pixels; cells meet halfway between values."""

    def __init__(self, values: np.ndarray, first: float, last: float):
        ends = style.edges(values)
        self._low, self._span = np.log(ends[0]), np.log(ends[-1] / ends[0])
        self._first, self._last = first, last
        self.edges = [self(value) for value in ends]

    def __call__(self, value: float) -> float:
        return self._first + (np.log(value) - self._low) / self._span * (self._last - self._first)


def _contour(data: xr.Dataset, name: str) -> Sequence[np.ndarray]:
    """Where one of theory's conditions is on the line."""
    x, y = data.attrs["x"], data.attrs["y"]
    condition = data[f"condition_{name}"].transpose(f"fine_{y}", f"fine_{x}")
    if not condition.min() < 0 < condition.max():
        return []
    lines = contourpy.contour_generator(
        condition[f"fine_{x}"].values, condition[f"fine_{y}"].values, condition.values
    ).lines(0.0)
    return [np.asarray(line) for line in lines]


def _limit(data: xr.Dataset, across: Callable[[float], float]) -> list[str]:
    """Where the boundary ends, with its band; an arrow where only a lower end is known; nothing where nothing is."""
    known, bottom = data.attrs, HEIGHT - BOTTOM
    if "limit" in known:
        low, high = across(known["limit_low"]), across(known["limit_high"])
        band = f'<rect x="{low:.1f}" y="{TOP}" width="{high - low:.1f}" height="{bottom - TOP}"'
        band += f' fill="{ends.COLOR}" fill-opacity="0.25" pointer-events="none"/>'
        return [band, *_outlined(f"M{across(known['limit']):.1f} {TOP}V{bottom}", ends.LOOK)]
    if "limit_beyond" in known:
        place, middle = across(known["limit_beyond"]), (TOP + bottom) / 2
        arrow = f"M{place:.1f} {middle}h18m-6 -5l6 5l-6 5"
        return [*_outlined(f"M{place:.1f} {TOP}V{bottom}", ends.BEYOND), *_outlined(arrow, ends.LOOK)]
    return []


def _outlined(path: str, look: dict[str, Any]) -> list[str]:
    return [f'<path class="outline" d="{path}"/>', f'<path d="{path}" {_stroke(look)}/>']


def _found(data: xr.Dataset) -> list[tuple[float, float, float, float]]:
    """(y, boundary in x, its band) for every row that has one."""
    y = data.attrs["y"]
    found = data[["boundary", "boundary_low", "boundary_high"]].dropna(y, subset=["boundary"])
    return list(zip(*(found[name].values.tolist() for name in (y, *found.data_vars)), strict=True))


def _point(place: float, height: float, low: float, high: float) -> str:
    return (
        f'<path class="band" d="M{low:.1f} {height:.1f}H{high:.1f}"/>'
        f'<circle class="boundary" cx="{place:.1f}" cy="{height:.1f}" r="4"/>'
    )


def _stroke(look: dict[str, Any]) -> str:
    style = look["linestyle"]
    dash = DASHES[style] if isinstance(style, str) else " ".join(str(2 * length) for length in style[1])
    return f'class="line" stroke="{to_hex(look["color"])}"' + (f' stroke-dasharray="{dash}"' if dash else "")


def _legend(data: xr.Dataset) -> str:
    entries = []
    for name, look in style.LINE_LOOKS.items():
        if len(_contour(data, name)):
            words = data[f"condition_{name}"].attrs
            line = _key(f'<path d="M1 5H33" {_stroke(look)}/>')
            entries.append(
                f"<li>{line} condition of (9): {html.escape(words['label'])} ({html.escape(words['meaning'])})</li>"
            )
    mark = _key('<circle class="boundary" cx="17" cy="5" r="4"/>')
    entries.append(f"<li>{mark} measured: index = {data.attrs['level']:g}, 95 % bootstrap band</li>")
    if data.attrs["x"] == "n":
        look = ends.LOOK if "limit" in data.attrs else ends.BEYOND
        known = "limit" in data.attrs or "limit_beyond" in data.attrs
        line = _key(f'<path d="M1 5H33" {_stroke(look)}/>') if known else ""
        entries.append(f"<li>{line} {html.escape(ends.words(data))}</li>")
    return f'<ul class="legend">{"".join(entries)}</ul>'


def _gradient() -> str:
    return ",".join(to_hex(color) for color in mpl.colormaps["cividis"](np.linspace(0, 1, 9)))


def _key(mark: str) -> str:
    return f'<svg class="key" viewBox="0 0 34 10"><rect width="34" height="10"/>{mark}</svg>'


def _plain(label: str) -> str:
    """A label without the signs of mathematical type."""
    for old, new in (
        (r"\sigma", "σ"),
        (r"\lambda", "λ"),
        (r"\epsilon", "ε"),
        ("D_{gt}", "D_gt"),
        ("D_{emp}", "D_emp"),
        ("$", ""),
        ("d_1/d_2", "d₁/d₂"),
        (r"\|", "‖"),
        ("^2", "²"),
    ):
        label = label.replace(old, new)
    return label


def _digits(value: Any, digits: int = 4) -> float | None:
    """A number with few digits for JSON; None where it is not finite."""
    return float(f"{float(value):.{digits}g}") if np.isfinite(value) else None
