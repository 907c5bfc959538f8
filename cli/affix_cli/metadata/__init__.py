"""`affix migrate-metadata`: the entries of tasks' `metadata.data` become attachments (docs/decisions/0020)."""
