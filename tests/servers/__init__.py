"""Small real servers that stand in for the remote services, and can fail in every way that the network knows."""
