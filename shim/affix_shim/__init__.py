"""JSON-RPC 2.0 in front of the Affix gRPC services."""
