"""The relay measured beside other servers on the same load. Not installed; run by `make bench-relay`."""
