"""What judges the library and shares no code with it."""
