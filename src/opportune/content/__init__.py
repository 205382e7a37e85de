"""Words: Liquid rendering within limits. Pure."""
