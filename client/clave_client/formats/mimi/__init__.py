"""Messages as draft-ietf-mimi-content-08 has them: contents, ids, reports of status. No I/O."""
