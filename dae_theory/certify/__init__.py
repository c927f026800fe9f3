"""Certified minimizers: polish to a stationary point of the exact objective (6), and say what it is."""

from dae_theory.certify.certificate import (
    GLOBAL,
    LARGEST,
    LOCAL,
    LOCAL_IN_WIDTH,
    NOT_STATIONARY,
    SADDLE,
    VERDICTS,
    Certificate,
    certify,
)
from dae_theory.certify.curvature import hessian
from dae_theory.certify.minimizer import Minimizer, global_minimizer, settle
from dae_theory.certify.newcomers import Newcomer, newcomer_pull
from dae_theory.certify.polishing import Polished, polish

__all__ = [
    "GLOBAL",
    "LARGEST",
    "LOCAL",
    "LOCAL_IN_WIDTH",
    "NOT_STATIONARY",
    "SADDLE",
    "VERDICTS",
    "Certificate",
    "Minimizer",
    "Newcomer",
    "Polished",
    "certify",
    "global_minimizer",
    "hessian",
    "newcomer_pull",
    "polish",
    "settle",
]
