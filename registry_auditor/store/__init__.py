"""The only SQL of the product: what was audited, what was found, and the direction banks."""
