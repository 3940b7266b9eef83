"""The data folder and the database: schema, row checksums, threads. Knows no row's meaning."""
