"""One room: its group, its log read in order, commits and rekeys, the outbox. Knows no network."""
