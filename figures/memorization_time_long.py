"""Longer runs and more values of n: τ_mem grows faster with n than shorter runs say, so it is no one power of n.

Read as the figure of memorization_time; one width and one weight decay, 30,000 steps. Its record is of an earlier
version and knows the cost at the end alone.
"""

from figures.memorization_time import draw

__all__ = ["draw"]
