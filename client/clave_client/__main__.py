"""`python -m clave_client` is `clave`."""

from clave_client.cli import main

main(prog_name="clave")
