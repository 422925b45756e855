"""Version 1 of the query API."""
