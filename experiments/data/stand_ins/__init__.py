"""Small data sets in the true formats, which show scenes: they stand in for data that is not at hand."""
