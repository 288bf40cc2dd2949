"""Which path does what, one module for each protocol."""
