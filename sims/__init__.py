"""Simulations, one file a claim: `python -m sims.NAME --help`. Each writes one record a configuration."""
