"""From prompts to answers of every tier: what to ask, what it will cost, and the history that comes of it.

The calls themselves are `training.calls`'s.
"""
