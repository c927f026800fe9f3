"""The record of `sims.verify` in the report: the errata with their evidence, then every claim."""

import html
from collections import Counter
from collections.abc import Iterable

import numpy as np
import xarray as xr

from figures._summary import text
from figures.report.tables import table

ERRATA = {
    "1": "Cor. 3.3 shrinks by (S_k + σ²I)⁻¹, not by (S_k + σI)⁻¹",
    "2": "The population loss keeps the noise and the discarded directions, not the bias alone",
    "3": "Zero columns are not stable without weight decay: a neuron orthogonal to the samples grows below λ*",
    "4": "The residual of Thm 3.1 is divided by the small curvature σ² + nλ, and needs directions of spread that do not"
    " point at other means",
    "5": "Columns may be split into parallel ones: trained nets compare with theory after merging",
    "6": "The std of a representation moves with its scale; other scores do not",
    "7": "A divergence has no unit, so no length bounds it",
}
HEADER = ("equation", "claim", "corrected", "printed", "measured", "deviation", "tolerance", "verdict")


def errata(data: xr.Dataset) -> str:
    """Every erratum with the claims that are its evidence, the printed form's number beside the corrected one."""
    parts = []
    for number, words in ERRATA.items():
        mine = [k for k in range(data.sizes["claim"]) if _erratum(data, k) == number]
        if mine:
            parts.append(f"<h3>{number}. {html.escape(words)}</h3>{_table(data, mine)}")
    return "".join(parts)


def claims(data: xr.Dataset) -> str:
    """The whole table, folded, under the count of verdicts."""
    counts = Counter(str(verdict) for verdict in data["verdict"].values)
    words = "; ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    everything = _table(data, range(data.sizes["claim"]))
    return (
        f"<p>{data.sizes['claim']} claims: {html.escape(words)}.</p>"
        f"<details><summary>all of them</summary>{everything}</details>"
    )


def _erratum(data: xr.Dataset, k: int) -> str | None:
    label, statement = str(data["label"].values[k]), str(data["statement"].values[k])
    if label.startswith("§4."):
        return label.removeprefix("§4.")[:1]
    return statement.removeprefix("erratum ")[:1] if statement.startswith("erratum ") else None


def _table(data: xr.Dataset, rows: Iterable[int]) -> str:
    lines = []
    for k in rows:
        at = data.isel(claim=k)
        relation = str(at["relation"].values).replace("=", "")
        printed = float(at["printed"])
        sem = float(at["sem"])
        lines.append(
            (
                str(at["label"].values),
                str(at["statement"].values),
                f"{relation} {text(float(at['predicted']))}".strip(),
                "" if np.isnan(printed) else text(printed),
                text(float(at["measured"])) + ("" if np.isnan(sem) else f" ± {text(sem)}"),
                f"{float(at['deviation']):+.1e}".replace("-", "−"),
                f"{float(at['tolerance']):.0e}".replace("-", "−"),
                str(at["verdict"].values),
            )
        )
    return table(HEADER, lines, verdict=7)
