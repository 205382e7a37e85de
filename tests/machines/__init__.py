"""State machines: long random stories told to the real flows, checked at every step by a model that counts by hand."""
