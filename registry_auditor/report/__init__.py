"""Finished audits as text, JSON and Markdown."""
