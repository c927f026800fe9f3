"""Trained nets: one cell, a few beside many, one a noise level, side by side."""
