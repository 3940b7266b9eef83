"""Operating a relay: control socket, status, metrics, backup, checks of the database."""
