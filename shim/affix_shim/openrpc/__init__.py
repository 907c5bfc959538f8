"""`rpc.discover`: what there is to call, as an OpenRPC document."""
