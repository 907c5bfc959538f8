"""Several server processes on the same two ports (docs/decisions/0028-stopping-and-workers.md)."""

# What a worker says on its stdout when it serves.
READY = b"ready\n"
