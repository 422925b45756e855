"""Bytes to normalised matrices: every mess of a model format ends in this package."""
