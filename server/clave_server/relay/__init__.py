"""The relay assembled: start and stop, certificates, the handler of one client's connection."""
