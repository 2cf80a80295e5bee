"""Training: one loop, and what learns on it; the settings of a run."""
