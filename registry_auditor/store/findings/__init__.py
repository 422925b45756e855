"""Lists of findings: what narrows them, in which order they come, and how a page of them is found."""
