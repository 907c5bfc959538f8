"""The Affix service: gRPC over PostgreSQL and Redis."""
