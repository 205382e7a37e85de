"""Golden decisions: stored cases, and what is decided for them."""
