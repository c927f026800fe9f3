"""Every claim of `sims.verify` holds, at settings that take seconds.

A case is a group of claims, so that its rows are computed once however many workers there are. The rows are those of
the committed record; a claim that is new or gone is a difference between the two sets. Trained nets need their steps,
so those claims are slow.
"""

from pathlib import Path

import jax
import numpy as np
import pytest

from dae_theory import compare, records
from sims import verify

DATA, _ = records.read(Path(__file__).parent.parent / "figures" / "data" / "verify")
ROWS = compare.kept(DATA)
GROUPS = [str(name) for name in DATA["group"].values]
QUICK = verify.Config(draws=5000, trials=5000)
SLOW = {"trained"}


def _holds(found: compare.Row, committed: compare.Row) -> bool:
    """Judged in the same way as in the record; a number where nothing is predicted, agreement where something is."""
    same = (found.relation, found.erratum, found.printed is None) == (
        committed.relation,
        committed.erratum,
        committed.printed is None,
    )
    return same and (np.isfinite(found.measured) if committed.predicted is None else found.verdict == "agrees")


@pytest.mark.parametrize(
    "group", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in verify.GROUPS]
)
def test_the_claims_are_those_of_the_record_and_hold(group):
    with jax.debug_key_reuse(False):  # one key a group and purpose; draws of different claims are the same on purpose
        rows = verify.GROUPS[group].claims(QUICK, jax.random.key(QUICK.seed))
    found = {(row.claim, row.label): row for row in rows}
    committed = {(row.claim, row.label): row for row, name in zip(ROWS, GROUPS, strict=True) if name == group}
    assert set(found) == set(committed)
    failed = [compare.cells(found[name]) for name, row in committed.items() if not _holds(found[name], row)]
    assert failed == []


def test_every_erratum_has_evidence_with_the_printed_form_beside():
    assert {row.erratum for row in ROWS if row.printed is not None} == set(range(1, 8))
