"""A use case of the tests, of which there is nothing but stages."""
