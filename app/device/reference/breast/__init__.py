"""Breast ultrasound: phantoms, a device that marks lesions and one that assesses them."""
