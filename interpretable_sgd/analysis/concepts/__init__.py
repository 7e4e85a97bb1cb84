"""Images whose pixels are labelled with concepts: one table, one sample, and readers of what is on disk."""
