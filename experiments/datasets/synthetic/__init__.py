"""Images that are drawn, each a function of (parameters, seed, split, number)."""
