"""The net and the pictures that `interpretable-sgd example` shows, and how they were made."""
