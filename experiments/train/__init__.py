"""One training loop that can be killed at any moment: order, schedule, randomness, checkpoints."""
