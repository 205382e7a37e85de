"""Targets, data sets, fitting, judging. Pure compute."""
