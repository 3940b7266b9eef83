"""How fast the commands start, and what memory many rooms take. Not installed; run by `make bench-client`."""
