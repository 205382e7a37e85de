"""Acceptance: real processes, published clients, faults on purpose."""
