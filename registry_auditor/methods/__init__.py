"""The published methods, one file a paper, each citing it and saying how it differs."""
