"""The Affix contract: generated protobuf messages and gRPC stubs, and nothing else."""
