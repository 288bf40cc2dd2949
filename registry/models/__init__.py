"""Models as data: signature, bundle, golden rows, and predictors over native model files."""
