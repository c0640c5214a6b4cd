"""Chest X-ray triage: phantoms with scanner physics, DICOM headers, the training recipe."""
