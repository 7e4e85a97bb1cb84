"""One training loop that can be killed at any moment, on one device or several processes."""
