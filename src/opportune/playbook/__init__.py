"""Policy as declarative YAML: what is said, to whom, when, and how often."""
