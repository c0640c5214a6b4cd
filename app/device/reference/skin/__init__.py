"""Dermatology triage: phantoms of skin lesions, and the device that sorts them."""
