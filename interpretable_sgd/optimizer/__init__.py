"""The optimizer: what is selected, how it is updated, and what is guaranteed."""
