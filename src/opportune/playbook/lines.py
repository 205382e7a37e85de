"""YAML with the place of every value, so that a message can name the file and line.

YAML 1.2 reading of plain scalars: `on`, `yes`, `21:00` and dates stay text; only true/false, null and decimal
numbers are special. Keys are always text. A key written twice, a tag and a second document are faults.
"""

import re
from dataclasses import dataclass
from typing import Any

import yaml

MAX_BYTES = 1_000_000
MAX_NODES = 20_000

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a value stands. `line` counts from 1. `is_block`: a `|` or `>` text, whose words start on the next line."""

    file: str
    line: int
    is_block: bool = False


class YamlInvalid(ValueError):
    """A file that is not readable YAML. `faults`: (line, path, message)."""

    def __init__(self, faults: list[tuple[int, Path, str]]) -> None:
        self.faults = faults
        super().__init__("; ".join(f"line {line}: {message}" for line, _, message in faults))


class _Loader(yaml.SafeLoader):
    """SafeLoader with the core scalars of YAML 1.2 only."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - pyyaml's own hook


_BOOL, _NULL, _INT, _FLOAT, _STR = (f"tag:yaml.org,2002:{name}" for name in ("bool", "null", "int", "float", "str"))
_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(_NULL, re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(_INT, re.compile(r"^[-+]?\d{1,18}$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    _FLOAT, re.compile(r"^[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d{1,3})?$"), list("-+.0123456789")
)


def read_yaml(data: bytes, file: str) -> tuple[Any, dict[Path, Place]]:
    """The value of one YAML file and the place of every value in it, by path. An empty file is null.

    The place of an item of a mapping is that of its value, on the line of its key when the value starts lower.
    Raises YamlInvalid.
    """
    if len(data) > MAX_BYTES:
        raise YamlInvalid([(1, (), f"the file is larger than {MAX_BYTES} bytes")])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise YamlInvalid([(line, (), "the file is not UTF-8 text: save it as UTF-8")]) from error
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise YamlInvalid([_marked(error)]) from error
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise YamlInvalid([(line, (), f"the character U+{int(error.character):04X} is not allowed in YAML")]) from error
    except RecursionError as error:
        raise YamlInvalid([(1, (), "the file is nested too deeply")]) from error
    if node is None:
        return None, {}
    walk = _Walk(file)
    value = walk.value(node, ())
    if walk.faults:
        raise YamlInvalid(walk.faults)
    return value, walk.places


def _marked(error: yaml.MarkedYAMLError) -> tuple[int, Path, str]:
    mark = error.problem_mark or error.context_mark
    problem = error.problem or "this is not YAML"
    if "expected a single document" in (error.context or ""):
        problem = "one document per file: remove the second `---`"
    elif "\\t" in problem:
        problem = "a tab cannot indent YAML: use spaces"
    elif "mapping values are not allowed" in problem:
        problem = (
            "a `: ` where none is expected: check the indentation, or put the whole text in quotes "
            '(a Liquid `default: "..."` needs that, or a `|` block)'
        )
    elif "expected ',' or" in problem:
        problem += "; inside {} and [] put quotes around a whole text that has `,` `:` `?` brackets or quotes in it"
    context = f" ({error.context})" if error.context and "document" not in error.context else ""
    return (mark.line + 1 if mark else 1), (), f"not readable as YAML: {problem}{context}"


class _Walk:
    def __init__(self, file: str) -> None:
        self.file = file
        self.places: dict[Path, Place] = {}
        self.faults: list[tuple[int, Path, str]] = []
        self.count = 0
        self.open: set[int] = set()

    def value(self, node: yaml.Node, path: Path, key_line: int | None = None) -> Any:
        line = node.start_mark.line + 1
        self.count += 1
        if self.count > MAX_NODES or len(path) > 30 or id(node) in self.open:
            self.faults.append((line, path, "too many values, or an anchor that contains itself"))
            return None
        is_block = isinstance(node, yaml.ScalarNode) and node.style in ("|", ">")
        self.places[path] = Place(
            self.file, key_line if key_line and not isinstance(node, yaml.ScalarNode) else line, is_block
        )
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path, line)
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
            return self.mapping(node, path)
        finally:
            self.open.discard(id(node))

    def mapping(self, node: yaml.Node, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        first_line: dict[str, int] = {}
        for key_node, item in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.faults.append((line, path, "a key must be a plain name"))
                continue
            key = str(key_node.value)
            if key == "<<":
                self.faults.append(
                    (
                        line,
                        path,
                        "merge keys (`<<`) are not supported: repeat the keys, or use an anchor for a whole value",
                    )
                )
            elif key in first_line:
                self.faults.append(
                    (line, (*path, key), f"`{key}` is written twice: the first is in line {first_line[key]}")
                )
            else:
                first_line[key] = line
                result[key] = self.value(item, (*path, key), line)
        return result

    def scalar(self, node: yaml.ScalarNode, path: Path, line: int) -> Any:
        text, tag = str(node.value), node.tag
        if tag == _STR:
            return text
        if tag == _NULL:
            return None
        if tag == _BOOL:
            return text.lower() == "true"
        try:
            if tag == _INT:
                return int(text)
            if tag == _FLOAT:
                return float(text)
        except ValueError:
            self.faults.append((line, path, f"`{text}` is not a number"))
            return None
        self.faults.append((line, path, f"the tag `{tag}` is not supported"))
        return None
