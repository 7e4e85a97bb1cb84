"""The paper's experiments: its nets by name."""
