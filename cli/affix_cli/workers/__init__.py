"""Several server processes on the same two ports (docs/decisions/0028-workers.md)."""
