"""Whose key is whose: relay look-ups, fingerprints to compare, members whose name is bound to another key."""
