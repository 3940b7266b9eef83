"""Connections: listening sockets, TLS, login slots, one transport and send queue per client."""
