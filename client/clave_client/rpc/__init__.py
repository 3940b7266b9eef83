"""One profile, many programs: its owner serves the library's methods as JSON-RPC, and windows call them."""
