"""What people say and do: triage, suppressions, tokens, and the log of their writes."""
