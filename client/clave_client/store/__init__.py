"""What is kept on disk: the profile folder, its encrypted database, own keys, names bound to keys."""
