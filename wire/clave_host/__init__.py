"""What client and relay both need of the machine: addresses, clock, keepalive, private files and folders.

Knows neither the protocol nor what is stored.
"""
