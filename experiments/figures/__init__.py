"""Figures drawn from stored runs, the paper's by its numbers; nothing here trains or asks the library.

Each is a function (stored, out, data, scale) -> paths, and writes NAME.png, NAME-light.svg, NAME-dark.svg and
NAME.csv, which holds the numbers that are plotted.
"""
