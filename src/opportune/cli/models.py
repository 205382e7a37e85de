"""opportune models."""

import click

from opportune.cli.printing import json_option, result


@click.group("models", epilog="Example:  opportune models list")
def command() -> None:
    """List, promote and roll back model versions in the MLflow registry."""


def _table(name: str) -> list[dict[str, object]]:
    from opportune.wiring import Installation

    return [dict(v) for v in Installation().runlog.versions(name)]


@command.command("list", epilog="Example:  opportune models list --json")
@json_option
def list_models(as_json: bool) -> None:
    """Every version of every model, the champion marked."""
    from opportune.wiring import MODEL_NAMES

    rows = {name: _table(name) for name in MODEL_NAMES}
    lines = []
    for name, versions in rows.items():
        lines.append(f"{name}: {len(versions)} version(s)")
        lines += [
            f"  {mark} {name}/{v['version']}  {v.get('verdict', '')}  {v.get('created_at', '')}"
            for v in versions
            for mark in ("*" if v.get("is_champion") else " ",)
        ]
    result(rows, "\n".join(lines), as_json)


@command.command("promote", epilog="Example:  opportune models promote purchase 5")
@click.argument("name")
@click.argument("version")
def promote(name: str, version: str) -> None:
    """Make a version the champion; running services pick it up within seconds."""
    from opportune.flows.fetch import fetch_champions
    from opportune.wiring import Installation

    installation = Installation()
    known = [str(v["version"]) for v in installation.runlog.versions(name)]
    if version not in known:
        raise click.ClickException(f"{name} has no version {version}; it has: {', '.join(known) or 'none'}")
    installation.runlog.promote(name, version)
    fetch_champions((name,), installation.runlog, installation.shelf)
    click.echo(f"champion of {name} is now version {version}")


@command.command("rollback", epilog="Example:  opportune models rollback purchase")
@click.argument("name")
@click.pass_context
def rollback(ctx: click.Context, name: str) -> None:
    """Make the version before the champion the champion again."""
    versions = _table(name)
    champion = next((v for v in versions if v.get("is_champion")), None)
    older = [
        v
        for v in versions
        if champion
        and int(str(v["version"])) < int(str(champion["version"]))
        and v.get("verdict") in ("promoted", "prior")
    ]
    if not older:
        raise click.ClickException(f"{name} has no earlier promoted version to go back to")
    ctx.invoke(promote, name=name, version=str(max(older, key=lambda v: int(str(v["version"])))["version"]))
