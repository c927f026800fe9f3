"""Every claim of `sims.verify` holds, one case each, at settings that take seconds.

The cases are the rows of the committed record; a claim that is new or gone is a difference between the two sets.
Trained nets need their steps, so those claims are slow.
"""

import functools
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


@functools.cache
def _judged(group: str) -> dict[tuple[str, str], compare.Row]:
    """The group's rows by claim and label, computed once a worker."""
    with jax.debug_key_reuse(False):  # one key a group and purpose; draws of different claims are the same on purpose
        rows = verify.GROUPS[group].claims(QUICK, jax.random.key(QUICK.seed))
    return {(row.claim, row.label): row for row in rows}


def _marks(group: str) -> list:
    return [pytest.mark.slow] if group in SLOW else []


@pytest.mark.parametrize(
    ("group", "row"),
    [
        pytest.param(group, row, id=f"{group}: {row.claim}", marks=_marks(group))
        for row, group in zip(ROWS, GROUPS, strict=True)
    ],
)
def test_claim(group, row):
    found = _judged(group)[row.claim, row.label]
    assert found.relation == row.relation
    assert found.erratum == row.erratum
    assert (found.printed is None) == (row.printed is None)
    if row.predicted is None:
        assert np.isfinite(found.measured)
    else:
        assert found.verdict == "agrees", compare.cells(found)


@pytest.mark.parametrize("group", [pytest.param(name, marks=_marks(name)) for name in verify.GROUPS])
def test_the_committed_record_has_every_claim(group):
    committed = {(row.claim, row.label) for row, name in zip(ROWS, GROUPS, strict=True) if name == group}
    assert committed == set(_judged(group))


def test_every_erratum_has_evidence_with_the_printed_form_beside():
    assert {row.erratum for row in ROWS if row.printed is not None} == set(range(1, 8))
