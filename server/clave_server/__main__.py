"""Runs the relay: `python -m clave_server` is `clave-relay`."""

from clave_server.cli.main import main

main(prog_name="clave-relay")
