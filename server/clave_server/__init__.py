"""The relay: rooms, log, directory, transport, mirror. It routes ciphertext and knows no group protocol."""
