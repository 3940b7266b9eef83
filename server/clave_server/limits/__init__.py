"""What one address or account may use: token buckets, quotas, bans, connection counts."""
