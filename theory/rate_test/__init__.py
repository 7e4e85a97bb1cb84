"""The rate test and the configurations that it judges."""
