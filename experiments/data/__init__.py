"""Data sets that need no download: generated scenes and glyphs with exact concept masks, and handwritten digits."""
