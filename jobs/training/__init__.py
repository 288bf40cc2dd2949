"""Training: a window read in chunks, what LightGBM bins it into, and the library's calls."""
