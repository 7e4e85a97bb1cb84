"""Layers whose forward pass selects: Dynamic-K and EM routing."""
