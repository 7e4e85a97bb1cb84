"""Tables of stored runs: the paper's Table 1, the frontier, the ablation."""
