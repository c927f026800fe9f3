"""The numbered claims of the theory, one file a group; sims.verify judges them."""
