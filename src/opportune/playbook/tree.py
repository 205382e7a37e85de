"""The parts of a condition. `at` is the character a part starts at, counted from 1."""

from dataclasses import dataclass

#: What a literal may hold; null is None.
Scalar = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a text, true, false or null. `at`: character, counted from 1."""

    value: Scalar
    at: int


@dataclass(frozen=True, slots=True)
class Path:
    """A dotted name: the first key is its root (`event`, `features`, ...)."""

    keys: tuple[str | int, ...]
    at: int

    @property
    def dotted(self) -> str:
        """The name as people write it, like `features.cart_value`."""
        return ".".join(str(key) for key in self.keys)


@dataclass(frozen=True, slots=True)
class Items:
    """A list written out: `["gold", "silver"]`."""

    items: tuple["Node", ...]
    at: int


@dataclass(frozen=True, slots=True)
class Call:
    """One of the named functions, applied."""

    name: str
    arguments: tuple["Node", ...]
    at: int


@dataclass(frozen=True, slots=True)
class Not:
    """Logical negation."""

    operand: "Node"
    at: int


@dataclass(frozen=True, slots=True)
class Logic:
    """`and` or `or` over two operands or more."""

    word: str
    operands: tuple["Node", ...]
    at: int


@dataclass(frozen=True, slots=True)
class Compare:
    """`left op right`; a chain `a < b < c` is an `and` of two of these."""

    op: str
    left: "Node"
    right: "Node"
    at: int


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`left op right` with op one of + - * /."""

    op: str
    left: "Node"
    right: "Node"
    at: int


Node = Literal | Path | Items | Call | Not | Logic | Compare | Arithmetic
