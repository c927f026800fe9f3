"""`python -m sims.test_loss` runs `sims.population_loss`, which had this name."""

from sims import launch
from sims.population_loss import SIM

if __name__ == "__main__":
    launch.main(SIM)
