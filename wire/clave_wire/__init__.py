"""What crosses the network: frames, limits and the connection both ends run. Does no I/O itself."""
