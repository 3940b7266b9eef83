"""Accounts, devices, key packages and registration tokens, in the database."""
