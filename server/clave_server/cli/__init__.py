"""The `clave-relay` command: options, configuration, subcommands."""
