"""Benchmarks: what the router and its training cost in time, memory and size, measured and self-checked."""
