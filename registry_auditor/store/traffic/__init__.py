"""The traffic with the outside: what registries show and tell us, and what we tell others."""
