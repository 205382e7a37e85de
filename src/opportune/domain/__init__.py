"""The nouns. Standard library only, frozen, no I/O."""
