"""The client: profile store, session, line mode and the library they stand on."""
