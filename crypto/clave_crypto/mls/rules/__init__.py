"""The rules of RFC 9420 that a receiver can check: one named function each, with its id and section."""
