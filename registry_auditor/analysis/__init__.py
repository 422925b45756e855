"""Analyzers: how one is declared, found, configured and run on one subject."""
