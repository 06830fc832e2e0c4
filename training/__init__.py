"""Train, calibrate, gate and export the router (needs the extra: pip install "tierwise[train]")."""
