"""What crosses the hospital wall, versioned; no I/O."""
