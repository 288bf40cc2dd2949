"""What every test may use: isolation, leak checks, campaigns. Loaded by `tests/conftest.py`."""
