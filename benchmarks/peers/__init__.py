"""Small programs that run in a peer's own environment, never in ours."""
