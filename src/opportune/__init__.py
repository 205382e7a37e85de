"""Opportune: behaviour in, ranked, capped, explained message decisions out."""

__version__ = "0.1.0"
