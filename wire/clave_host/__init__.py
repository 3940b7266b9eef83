"""What client and relay both need of the machine: addresses, clock, private files, how a program ends.

Knows neither the protocol nor what is stored.
"""
