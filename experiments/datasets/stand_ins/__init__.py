"""Scenes written in the formats of real data sets."""
