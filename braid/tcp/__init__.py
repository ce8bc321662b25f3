"""TCP connections as records, and kernel sockets built from them."""
