"""What makes services of the tests fail; see `sitecustomize`."""
