"""The whole analysis of a model, in one object."""
