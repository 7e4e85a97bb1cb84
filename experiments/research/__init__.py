"""Questions about InterpretableSGD that are answered by grids of small runs on generated scenes."""
