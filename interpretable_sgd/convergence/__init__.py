"""Convergence of a training run, measured."""
