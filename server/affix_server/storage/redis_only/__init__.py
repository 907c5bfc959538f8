"""Storage without Postgres: Redis decides always, and keeps everything for good (design/storage.md)."""
