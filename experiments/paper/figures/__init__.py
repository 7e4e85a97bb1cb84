"""The paper's figures by its numbers, drawn from stored runs; nothing here trains or asks the library.

Each is a function (stored, out, data, scale) -> paths, and writes NAME.png, NAME-light.svg, NAME-dark.svg
and NAME.csv, which holds the numbers that are plotted.
"""
