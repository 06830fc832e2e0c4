"""Judges: grading by a model that was asked, and how far it can be believed."""
