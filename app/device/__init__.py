"""The locked device: open and verify a bundle, run a study through its chain."""
