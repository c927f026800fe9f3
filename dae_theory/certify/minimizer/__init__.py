"""The minimizer of (6) over all widths, with the gap to a lower bound; and the way down at a given width."""

from dae_theory.certify.minimizer.descent import settle
from dae_theory.certify.minimizer.solve import Minimizer, global_minimizer

__all__ = ["Minimizer", "global_minimizer", "settle"]
