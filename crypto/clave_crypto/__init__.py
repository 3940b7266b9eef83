"""Keys, identities and groups. Knows no sockets, files, clocks or terminals."""
