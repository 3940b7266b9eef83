"""The connection to a relay: address, TLS and certificate trust, requests, reconnecting with backoff."""
