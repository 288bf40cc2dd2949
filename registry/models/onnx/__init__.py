"""ONNX: a bundle's model for other runtimes, with what was measured of the difference."""
