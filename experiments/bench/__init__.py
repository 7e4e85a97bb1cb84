"""Benchmarks: contestants take turns in one run, and a number is a median over turns."""
