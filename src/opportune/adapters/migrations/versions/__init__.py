"""One file per change of the ledger's schema, in order; a shipped file never changes."""
