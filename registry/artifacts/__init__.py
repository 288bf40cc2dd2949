"""Append-only artifacts: identity by recipe, commit by a manifest that is created once."""
