"""The record of `sims.verify` in the report: the errata with their evidence, then every claim."""

import html
from collections import Counter
from collections.abc import Sequence

import xarray as xr

from dae_theory import compare
from figures.report.tables import table

ERRATA = {
    1: "Cor. 3.3 shrinks by (S_k + σ²I)⁻¹, not by (S_k + σI)⁻¹",
    2: "The population loss keeps the noise and the discarded directions, not the bias alone",
    3: "Zero columns are not stable without weight decay: a neuron orthogonal to the samples grows below λ*",
    4: "The residual of Thm 3.1 is divided by the small curvature σ² + nλ, and needs directions of spread that do not"
    " point at other means",
    5: "Columns may be split into parallel ones: trained nets compare with theory after merging",
    6: "The std of a representation moves with its scale; other scores do not",
    7: "A divergence has no unit, so no length bounds it",
}
HEADER = ("equation", "claim", "corrected", "printed", "measured", "deviation", "tolerance", "verdict")


def errata(data: xr.Dataset) -> str:
    """Every erratum with the claims that are its evidence, the printed form's number beside the corrected one."""
    rows = compare.kept(data)
    parts = []
    for number, words in ERRATA.items():
        mine = [row for row in rows if row.erratum == number]
        if mine:
            parts.append(f"<h3>{number}. {html.escape(words)}</h3>{_table(mine)}")
    return "".join(parts)


def claims(data: xr.Dataset) -> str:
    """The whole table, folded, under the count of verdicts."""
    rows = compare.kept(data)
    counts = Counter(row.verdict for row in rows)
    words = "; ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    return (
        f"<p>{len(rows)} claims: {html.escape(words)}.</p>"
        f"<details><summary>all of them</summary>{_table(rows)}</details>"
    )


def _table(rows: Sequence[compare.Row]) -> str:
    return table(HEADER, [_cells(row) for row in rows], verdict=7)


def _cells(row: compare.Row) -> tuple[str, ...]:
    relation = "" if row.relation == "=" else f"{row.relation} "
    deviation = "" if row.predicted is None else f"{row.measured - row.predicted:+.1e}".replace("-", "−")
    return (
        row.label,
        row.claim,
        relation + compare.text(row.predicted),
        compare.text(row.printed),
        compare.text(row.measured) + (f" ± {compare.text(row.sem)}" if row.sem is not None else ""),
        deviation,
        "" if row.tolerance is None else f"{row.tolerance:.0e}".replace("-", "−"),
        row.verdict,
    )
