"""Exact theory and large ensembles of two-layer ReLU denoising autoencoders.

The model is f(y) = W₂ [W₁ᵀy]₊, trained at one noise level with weight decay. Importing the package sets no global
state and touches no device; theory is meant for float64 (`jax.config.update("jax_enable_x64", True)`).
"""

__version__ = "0.1.0"
