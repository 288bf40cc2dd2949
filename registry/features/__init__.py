"""Features in time: what a view offers, and joins that see only what was known."""
