"""The judges of the library, which share no code with it."""
