"""The MLS library measured beside mls-rs. Not installed; run by `make bench-mls`."""
