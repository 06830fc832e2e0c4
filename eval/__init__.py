"""Evaluation: what a router saves, what it costs in quality, and how sure that is."""
