"""Drift reports: one view, HTML and PDF/A from one template; Evidently's report beside ours."""
