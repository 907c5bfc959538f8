"""The suite of the project; see tests/harness for how it runs the real thing."""

import os

# The suite starts processes while gRPC's threads run, and they exec at once: gRPC's fork handlers only warn.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
