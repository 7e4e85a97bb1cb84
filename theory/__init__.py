"""Every claim of the paper, and every theorem in its place, as a check with a verdict."""
