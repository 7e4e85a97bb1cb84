"""The paper's tables and figures as grids over runs."""
