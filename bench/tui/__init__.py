"""Measures the full screen on a pseudo-terminal, with real processes. `make bench-tui` runs it."""
