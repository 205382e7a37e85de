"""Campaigns that nobody can ever receive, read off the playbook: never at any time, or not any more."""

from collections.abc import Iterator
from datetime import datetime

from opportune.playbook.conditions import ConditionInvalid, compile_condition
from opportune.playbook.grammar import parse
from opportune.playbook.kinds import is_number
from opportune.playbook.lines import Path
from opportune.playbook.schema import Campaign, ConsentPolicy, PlaybookSpec
from opportune.playbook.tree import Compare, Literal, Logic, Node
from opportune.playbook.tree import Path as Name

Found = tuple[Path, str]

_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "=="}
_MANY = float("inf")


def never_heard(spec: PlaybookSpec) -> Iterator[Found]:
    """What keeps a campaign from everybody, whatever the time."""
    for name, fired in spec.triggers.items():
        if fired.when is not None and (why := contradiction(fired.when)):
            yield ("triggers", name, "when"), f"this can never hold ({why}): the trigger never fires; change it"
    for name, campaign in spec.campaigns.items():
        path: Path = ("campaigns", name)
        if campaign.when is not None and (why := contradiction(campaign.when)):
            yield (*path, "when"), f"this can never hold ({why}): nobody receives it; change it, or remove the campaign"
        trigger = spec.triggers.get(campaign.trigger or "")
        if trigger is not None and trigger.starts_at and campaign.ends_at and campaign.ends_at <= trigger.starts_at:
            yield (*path, "ends_at"), f"ends before trigger `{campaign.trigger}` starts: nobody receives it; move one"
        if trigger is not None and trigger.ends_at and campaign.starts_at and trigger.ends_at <= campaign.starts_at:
            yield (*path, "starts_at"), f"trigger `{campaign.trigger}` has ended by then: nobody receives it; move one"
        yield from _worthless(path, campaign, spec)
    marketing = [n for n, t in spec.topics.items() if t.purpose == "marketing"]
    speaking = [n for n, c in spec.campaigns.items() if c.topic in marketing]
    if speaking and spec.consent == ConsentPolicy():
        yield (
            ("campaigns", speaking[0]),
            "no `consent` is declared, and then every channel is out until a customer opts in: say what holds before, "
            'like `consent: {default: {email: in, "*": out}}` where the law lets you, or `{default: {"*": out}}`',
        )


def no_longer_heard(spec: PlaybookSpec, now: datetime) -> Iterator[Found]:
    """What has ended by now."""
    for name, campaign in spec.campaigns.items():
        trigger = spec.triggers.get(campaign.trigger or "")
        if campaign.ends_at is not None and campaign.ends_at <= now:
            yield (
                ("campaigns", name, "ends_at"),
                f"ended on {campaign.ends_at:%Y-%m-%d %H:%M} UTC: nobody receives it any more; move it, or remove the "
                "campaign",
            )
        elif trigger is not None and trigger.ends_at is not None and trigger.ends_at <= now:
            yield (
                ("campaigns", name, "trigger"),
                f"trigger `{campaign.trigger}` ended on {trigger.ends_at:%Y-%m-%d %H:%M} UTC: nobody receives this any "
                "more; move its `ends_at`, or remove both",
            )


def _worthless(path: Path, campaign: Campaign, spec: PlaybookSpec) -> Iterator[Found]:
    """The most it can ever be worth, the goal being certain, is no more than it costs."""
    goal = spec.goals.get(campaign.goal) if campaign.goal else None
    value = campaign.value_minor if campaign.value_minor is not None else goal.value_minor if goal else None
    topic = spec.topics.get(campaign.topic)
    if value is None or campaign.goal is None or topic is None or topic.purpose == "transactional":
        return
    most = value * campaign.lift
    if most <= campaign.cost_minor:
        yield (
            path,
            f"costs {campaign.cost_minor} and is worth {most:g} at most ({value} x {campaign.lift:g}): never better "
            "than sending nothing; check `value_minor`, `lift` and `cost_minor`",
        )


def contradiction(text: str) -> str | None:
    """In words why a condition can never be true; null when it may be, or is not readable at all."""
    try:
        compiled, tree = compile_condition(text), parse(text)
    except ConditionInvalid:
        return None
    if not compiled.reads:
        return None if compiled.holds({}) else "it is always false"
    return _conflict(tree)


def _conflict(node: Node) -> str | None:
    """Ranges that leave nothing: of the parts of an `and` together, of every part of an `or`."""
    if isinstance(node, Logic) and node.word == "or":
        found = [_conflict(part) for part in node.operands]
        return found[0] if all(found) else None
    parts = list(_parts(node))
    for part in parts:
        if isinstance(part, Logic) and (why := _conflict(part)):
            return why
        if isinstance(part, Literal) and part.value is False:
            return "`false` is among what must hold"
    ranges: dict[str, tuple[float, bool, float, bool]] = {}
    for part in parts:
        bound = _bound(part)
        if bound is None:
            continue
        name, op, number = bound
        start = (0.0, True, 1.0, True) if name.startswith("scores.") else (-_MANY, True, _MANY, True)
        low, has_low, high, has_high = ranges.get(name, start)
        if op in (">", ">=", "==") and (number, op == ">") > (low, not has_low):
            low, has_low = number, op != ">"
        if op in ("<", "<=", "==") and (number, op != "<") < (high, has_high):
            high, has_high = number, op != "<"
        ranges[name] = (low, has_low, high, has_high)
        if low > high or (low == high and not (has_low and has_high)):
            limits = " and scores lie between 0 and 1" if name.startswith("scores.") else ""
            return f"no `{name}` is in that range{limits}"
    return None


def _parts(node: Node) -> Iterator[Node]:
    """What must all hold."""
    if isinstance(node, Logic) and node.word == "and":
        for part in node.operands:
            yield from _parts(part)
    else:
        yield node


def _bound(node: Node) -> tuple[str, str, float] | None:
    """A name against a number: (name, operator with the name on the left, number)."""
    if not isinstance(node, Compare) or node.op not in _FLIPPED:
        return None
    if isinstance(node.left, Name) and isinstance(node.right, Literal) and is_number(node.right.value):
        return node.left.dotted, node.op, float(node.right.value)  # type: ignore[arg-type]
    if isinstance(node.right, Name) and isinstance(node.left, Literal) and is_number(node.left.value):
        return node.right.dotted, _FLIPPED[node.op], float(node.left.value)  # type: ignore[arg-type]
    return None
