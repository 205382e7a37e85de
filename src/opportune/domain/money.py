"""Money: integer minor units everywhere inside."""

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

#: Larger amounts (10 billion major units) are taken for errors and read as null; keeps sums in 64 bits.
MAX_MINOR = 10**12
_CENT = Decimal(1)


def to_minor(amount: Any) -> int | None:
    """Integer minor units of an amount in major units (number or numeric text); null when it is no finite amount.

    Round half even of str(amount) x 100.
    """
    if amount is None or isinstance(amount, bool) or not isinstance(amount, int | float | str | Decimal):
        return None
    try:
        minor = int((Decimal(str(amount)) * 100).quantize(_CENT, rounding=ROUND_HALF_EVEN))
    except (InvalidOperation, ValueError, OverflowError):
        return None
    return minor if -MAX_MINOR <= minor <= MAX_MINOR else None
