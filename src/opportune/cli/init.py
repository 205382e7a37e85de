"""opportune init."""

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opportune.cli.printing import json_option, result

if TYPE_CHECKING:
    from opportune.playbook.propose import Proposal

#: Rows looked at of a file.
LOOK_AT = 50_000


@click.command(
    "init",
    epilog="Example:  opportune init my-shop      opportune init my-shop --from events.csv      "
    "opportune init my-trial --example trial",
)
@click.argument("folder", default="playbook", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--from",
    "file",
    default=None,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A CSV, JSON lines or Parquet file of events: propose mapping, goals and triggers from it.",
)
@click.option("--example", default=None, help="Start from one of the examples that come along, its tests included.")
@json_option
def command(folder: Path, file: Path | None, example: str | None, as_json: bool) -> None:
    """Write a small, commented playbook to edit; with --from also a column mapping. Overwrites nothing."""
    from opportune.playbook.starter import playbook_text

    if file is not None and example is not None:
        raise click.UsageError("--from looks at your own events, --example at ours: choose one")
    notes: tuple[str, ...] = ()
    texts = _example(example, folder) if example is not None else {folder / "playbook.yaml": playbook_text()}
    mapping = folder / "mapping" / f"{file.name.split('.')[0]}.yaml" if file else None
    if file is not None and mapping is not None:
        proposal = propose_for(file)
        texts = {folder / "playbook.yaml": proposal.playbook, mapping: proposal.mapping}
        notes = proposal.notes
    there = sorted(str(p) for p in texts if p.exists()) or sorted(map(str, folder.glob("*.y*ml")))
    if there:
        raise click.ClickException(f"{there[0]} is there already and stays as it is: name another folder")
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    data = {"written": [str(p) for p in texts], "notes": list(notes)}
    following = _next(folder, file, mapping, has_tests=example is not None)
    result(data, "\n".join([*(f"wrote {p}" for p in texts), *_told(notes), *following]), as_json)


def _example(name: str, folder: Path) -> dict[Path, str]:
    """An example and its tests, as files of a folder."""
    from opportune.playbook.load import EXAMPLES
    from opportune.playbook.nearest import hint

    names = sorted(file.stem for file in EXAMPLES.glob("*.yaml"))
    if name not in names:
        raise click.UsageError(f"no example `{name}`{hint(name, names)}; there are: {', '.join(names)}")
    text = (
        (EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8").split("\n", 1)[1]
    )  # the schema is not beside it there
    tests = (EXAMPLES / "tests" / f"{name}.yaml").read_text(encoding="utf-8")
    return {folder / "playbook.yaml": text, folder / "tests" / "playbook.yaml": tests}


def propose_for(file: Path) -> "Proposal":
    """Look at the first rows of a file and propose. Raises ValueError, OSError."""
    from opportune.adapters.table_rows import delimiter_of, rows_of
    from opportune.domain.refusals import Refused
    from opportune.playbook.columns import look
    from opportune.playbook.propose import propose

    mark = delimiter_of(file)
    rows = islice(rows_of(file, mark), LOOK_AT)
    return propose(look(row for row in rows if not isinstance(row, Refused)), file.name, mark)


def _told(notes: tuple[str, ...]) -> list[str]:
    return ["", "Guessed from names and values; you know better:", *(f"  {note}" for note in notes)] if notes else []


def _next(folder: Path, file: Path | None, mapping: Path | None, has_tests: bool) -> list[str]:
    steps = [f"opportune check {folder}", *([f"opportune test {folder}"] if has_tests else [])]
    if mapping is not None:
        steps += [f"OPPORTUNE_PLAYBOOK={folder} opportune ingest {file} --map {mapping}", "opportune train purchase"]
    return ["", "Next:", *(f"  {step}" for step in [*steps, f"OPPORTUNE_PLAYBOOK={folder} opportune serve"])]
