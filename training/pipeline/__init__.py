"""The weekly pipeline: retrain, compare, promote, roll back (needs the extra: pip install "tierwise[train]")."""
