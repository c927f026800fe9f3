"""What `python -m sims.benchmark` measures, one section a file."""
