"""Synthetic languages and labelled fine-tunes with known truth."""
