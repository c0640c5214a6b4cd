"""Pages: what they show (`views`), how it is gathered (`gather_*`), and their routes."""
