"""A terminal with a prompt at its end: prints above it, reads lines and keys. Knows no chat and no client."""
