"""Scores of images in pretrained diffusion models of diffusers (extra `torch`)."""

from dae_theory.adapters.diffusers.recipes import Recipe, load, recipe
from dae_theory.adapters.diffusers.scoring import ImageScores, score_images

__all__ = ["ImageScores", "Recipe", "load", "recipe", "score_images"]
