"""Pure tests, milliseconds."""
