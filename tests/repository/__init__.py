"""Tests of the repository itself: sizes, links, contracts, generated pages."""
