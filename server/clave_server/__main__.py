"""Runs the relay: `python -m clave_server` is `clave-relay`."""

from clave_server.cli import main

main(prog_name="clave-relay")
