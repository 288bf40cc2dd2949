"""Real servers for the integration tests: found, built once, started and stopped."""
