"""Did you mean: the known name nearest to a wrong one."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name` (case ignored); null when none is close."""
    by_lower: dict[str, str] = {}
    for candidate in known:
        by_lower.setdefault(candidate.lower(), candidate)
    found = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def hint(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: a suggestion, or the list when it is short; may be empty."""
    names = sorted(known)
    near = nearest(name, names)
    if near is not None:
        return f"; did you mean `{near}`?"
    if not names:
        return ""
    return f"; known: {', '.join(names)}" if len(names) <= 12 else ""
