"""Cardiac echo: phantoms of a beating heart, and the device that measures it."""
