"""Paid calls to models: sent once, written down before and after, within limits and a budget."""
