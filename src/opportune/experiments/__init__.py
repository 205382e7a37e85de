"""Assignment and measurement. Pure."""
