"""Why an envelope is refused: one closed list of codes, and the one sanitiser that every door and database shares."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

#: Levels of objects and lists in one item, the item itself included.
MAX_NESTING = 200
#: Bytes of one event as compact JSON.
MAX_EVENT_BYTES = 32 * 1024
_MAX_INT = 2**63
_SHOWN = 60


class RefusalCode(StrEnum):
    """Codes of dead letters: stable and machine readable. `DeadLetter.message` names the field and what to do."""

    NOT_AN_OBJECT = "not_an_object"
    LINE_NOT_JSON = "line_not_json"  # files only: one line could not be parsed
    EVENT_TOO_LARGE = "event_too_large"  # over 32 KB
    NESTING_TOO_DEEP = "nesting_too_deep"  # over 200 levels
    TEXT_INVALID = "text_invalid"  # NUL, lone surrogates, bytes that are not UTF-8
    NUMBER_OUT_OF_RANGE = "number_out_of_range"  # NaN, infinite, or beyond 64 bits
    TYPE_UNKNOWN = "type_unknown"  # `type` is none of the six calls
    WRONG_TYPE = "wrong_type"  # a field holds another type than it must
    ID_MISSING = "id_missing"  # neither userId nor anonymousId (or, per call, userId, previousId, groupId)
    ID_TOO_LONG = "id_too_long"
    ID_RESERVED = "id_reserved"  # userId starting with "anon:", which names anonymous customers
    EVENT_MISSING = "event_missing"  # track without `event`
    NAME_TOO_LONG = "name_too_long"
    TIMESTAMP_INVALID = "timestamp_invalid"
    TIMESTAMP_MISSING = "timestamp_missing"  # imports only: nothing else says when it happened
    BEFORE_1970 = "before_1970"
    BEYOND_RETENTION = "beyond_retention"  # live events only
    ROW_INVALID = "row_invalid"  # tables: a cell that cannot be read


class Refused(Exception):
    """One envelope cannot be accepted; the others of its batch can."""

    def __init__(self, code: RefusalCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def shown(text: object) -> str:
    """A piece of foreign text, safe to repeat in a message: plain ASCII, at most 60 characters."""
    plain = str(text)[:_SHOWN].encode("ascii", "backslashreplace").decode("ascii").replace("\x00", "\\x00")
    return "".join(c if c.isprintable() else "?" for c in plain)


def is_clean_text(text: str) -> bool:
    """True when every database keeps the text as it is: no NUL, no lone surrogate."""
    if "\x00" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def check_values(item: Mapping[str, Any], is_text_clean: bool = False) -> None:
    """Refuse an object that some database could not keep exactly. Raises Refused, naming the field.

    `is_text_clean` true: the caller knows that no NUL and no lone surrogate can occur (saves looking at each text).
    """
    if is_text_clean and _is_plain(item, 1):
        return
    _find_fault(item, "", 1)


def _is_plain(value: Any, depth: int) -> bool:
    """The fast look at everything but text; false says only that the slow one has to find out."""
    if depth > MAX_NESTING:
        return False
    for inner in value.values() if type(value) is dict else value:
        kind = type(inner)
        if kind is str or inner is None or kind is bool:
            continue
        if kind is dict or kind is list:
            if inner and not _is_plain(inner, depth + 1):
                return False
        elif kind is float:
            if not -_MAX_INT < inner < _MAX_INT:  # false for NaN as well
                return False
        elif kind is int:
            if not -_MAX_INT <= inner < _MAX_INT:
                return False
        else:
            return False
    return True


def _find_fault(value: Any, path: str, depth: int) -> None:
    kind = type(value)
    if kind is str:
        if not is_clean_text(value):
            raise Refused(
                RefusalCode.TEXT_INVALID,
                f"{path} holds a NUL character, a lone surrogate or bytes that are not UTF-8: remove them",
            )
    elif kind is float or kind is int:
        # A decoder may give -2^63 - 1 as the float -2^63: no float stands at that end of the range.
        if not (-_MAX_INT <= value < _MAX_INT) or (kind is float and value == -_MAX_INT):
            raise Refused(
                RefusalCode.NUMBER_OUT_OF_RANGE,
                f"{path} is no number of at most 64 bits (nor are NaN and infinities): send it as text or leave it out",
            )
    elif kind is dict or kind is list:
        if depth > MAX_NESTING:
            raise Refused(
                RefusalCode.NESTING_TOO_DEEP, f"{path[:80]}... is nested deeper than {MAX_NESTING} levels: flatten it"
            )
        if kind is list:
            for i, inner in enumerate(value):
                _find_fault(inner, f"{path[:200]}[{i}]", depth + 1 if type(inner) in (dict, list) else depth)
            return
        for key, inner in value.items():
            where = f"{path[:200]}.{shown(key)}" if path else shown(key)
            if not is_clean_text(key):
                raise Refused(
                    RefusalCode.TEXT_INVALID, f"the name of field {where} holds a NUL or a lone surrogate: rename it"
                )
            _find_fault(inner, where, depth + 1 if type(inner) in (dict, list) else depth)
    elif value is not None and kind is not bool:
        raise Refused(RefusalCode.WRONG_TYPE, f"{path} holds a {kind.__name__}, which JSON does not know")
