"""The paper's figures and ours, each drawn from a saved record: `python -m figures.make`."""
