"""The gateway process: HTTP, validation, admission, batches. It runs models only as `inline` says."""
