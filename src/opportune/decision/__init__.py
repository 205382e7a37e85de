"""Choosing what to say: the pipeline and its stages. Pure."""
