"""Time: the exact gradient flow of (6), when a run generalizes and memorizes, and how far it is from the lazy limit."""

from dae_theory.dynamics.flow import Flow, gradient_flow

__all__ = ["Flow", "gradient_flow"]
