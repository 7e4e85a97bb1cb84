"""Classifiers with about five readable units per class, by changing the optimizer."""
