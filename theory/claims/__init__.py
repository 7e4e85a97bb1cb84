"""The claims, by subject: one claim is one function."""
