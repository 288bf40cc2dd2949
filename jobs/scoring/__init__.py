"""Batch scoring: Parquet in, model, Parquet out, in memory that does not grow with the data."""
