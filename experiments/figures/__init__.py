"""Figures drawn from stored results; nothing here trains. Each is a function (out, records) -> paths."""
