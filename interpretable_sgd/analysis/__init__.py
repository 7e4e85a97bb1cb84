"""Reading a trained network: what decides, which concepts its units are, how sure that is."""

from interpretable_sgd.analysis.decisions import Decisions, decide
from interpretable_sgd.analysis.heads import Head, find_head
from interpretable_sgd.analysis.passes import reading

__all__ = ["Decisions", "Head", "decide", "find_head", "reading"]
