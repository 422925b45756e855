"""Where models come from: a registry lists and opens, nothing else."""
