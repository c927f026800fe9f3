"""The minimizer of (6) over all widths, with the gap to a lower bound."""

from dae_theory.certify.minimizer.solve import Minimizer, global_minimizer

__all__ = ["Minimizer", "global_minimizer"]
