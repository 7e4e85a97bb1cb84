"""Numbers and figure arrays of trained networks."""
