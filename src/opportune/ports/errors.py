"""What a port may raise, whatever stands behind it."""


class Unavailable(Exception):
    """The part behind a port cannot be reached now. The message names the part and what to do."""


class LockLost(Exception):
    """Identities changed between reading and locking: the caller reads again and retries."""
