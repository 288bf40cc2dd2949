"""The gateway process: HTTP, validation, admission, batches. It never runs a model."""
