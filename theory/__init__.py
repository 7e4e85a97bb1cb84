"""What the paper claims of its method, and every theorem in its place, as checks with verdicts."""
