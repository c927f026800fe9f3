"""Images: nets generalize first and memorize later here too, and stopping late costs less than on the mixture.

Handwritten digits, 8 × 8. Read as the figure of the mixture; f_gt is here the posterior mean of Gaussians fitted to the
classes of all images. With twelve images nets memorize from the start.
"""

from figures.memorization_time import draw

__all__ = ["draw"]
