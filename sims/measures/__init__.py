"""What sims measure on nets and samples."""
