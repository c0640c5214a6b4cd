"""Ophthalmology screening: phantoms of the fundus, and the device that refers."""
