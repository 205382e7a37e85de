"""The state machine of multi-step journeys. Pure. (Arrives with journeys; nothing uses it yet.)"""
