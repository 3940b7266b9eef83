"""Keeps all rooms in step with the relay: resumes, commits, rejoins, invitations, routing, presence."""
