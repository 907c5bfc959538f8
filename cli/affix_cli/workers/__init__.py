"""Several server processes on the same two ports (docs/decisions/0028-stopping-and-workers.md)."""
