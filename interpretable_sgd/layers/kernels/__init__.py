"""The kernels of the routed layers: one interface (`schema`), three implementations."""
