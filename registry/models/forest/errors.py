"""What keeps a model from the evaluator; the library takes over."""

from __future__ import annotations


class Unsupported(Exception):
    """A sound model with something that the evaluator does not do; the message says what."""
