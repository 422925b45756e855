"""The pages: what the API answers, for people to look at."""
