"""Pixels: decode, canonical spacing, intensity normalisation, measured characteristics."""
