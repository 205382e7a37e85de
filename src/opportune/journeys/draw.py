"""A journey map: the steps of each journey and the ways between them, as the text of a diagram."""

from collections.abc import Callable, Mapping

from opportune.playbook.journey_graph import edges, step_names
from opportune.playbook.journeys import END, Awaited, Journey, Pause, Step
from opportune.playbook.values import format_duration

#: Longest text in a box or on an arrow.
_MOST = 60


def draw(journeys: Mapping[str, Journey], suffix: str) -> str:
    """All journeys in one diagram: Mermaid for `.mmd`, Mermaid in Markdown for `.md`, Graphviz for `.dot`.

    Raises ValueError for another suffix, or when there is no journey to draw.
    """
    drawn = _DRAWN.get(suffix)
    if drawn is None:
        raise ValueError(f"a map ends in {', '.join(_DRAWN)}, not in '{suffix}': name the file so")
    if not journeys:
        raise ValueError("there is no journey to draw: declare one under `journeys`")
    return drawn(journeys)


def described(step: Step) -> str:
    """One step in a few words, after the name it was given."""
    return f"{step.name}: {_does(step)}" if step.name is not None else _does(step)


def _does(step: Step) -> str:
    if step.message is not None:
        on = f" by {', '.join(step.message.channels)}" if step.message.channels else ""
        return f"say {step.message.campaign}{on}"
    if step.wait is not None:
        return _waits(step.wait)
    if step.wait_until is not None:
        return _awaits(step.wait_until)
    if step.escalate is not None:
        e = step.escalate
        return f"say {e.campaign} by {', then '.join(e.channels)}, {format_duration(e.each)} each, until {e.until}"
    return {"branch": "which way?", "split": "draw a way", "end": END}[step.kind]


def _waits(pause: Pause) -> str:
    time = f" {format_duration(pause.for_)}" if pause.for_ is not None else ""
    return f"wait{time}" + (f" until {pause.until:%H:%M}" if pause.until is not None else "")


def _awaits(wanted: Awaited) -> str:
    what = wanted.event or wanted.when
    if what is None:
        count, word = (wanted.opened, "opened") if wanted.opened is not None else (wanted.clicked, "clicked")
        what = f"{count} {word}" + (f" of the last {wanted.of_last}" if wanted.of_last is not None else "")
    elif wanted.event is not None and wanted.when is not None:
        what = f"{what} with {wanted.when}"
    return f"wait until {what}"


def _mermaid(journeys: Mapping[str, Journey]) -> str:
    lines = ["flowchart TD"]
    for name, journey in journeys.items():
        lines.append(f'    subgraph {name}["{_quoted(name)}"]')
        lines.append(f'        {name}___start(["{_quoted(journey.start)}"]) --> {name}__{step_names(journey)[0]}')
        for label, step in zip(step_names(journey), journey.steps, strict=True):
            box = ("{", "}") if step.kind in ("branch", "split") else ("[", "]")
            lines.append(f'        {name}__{label}{box[0]}"{_quoted(described(step))}"{box[1]}')
        lines.append(f'        {name}___end(["{END}"])')
        for edge in edges(journey):
            why = f'|"{_quoted(edge.why)}"|' if edge.why else ""
            lines.append(f"        {name}__{edge.source} -->{why} {_id(name, '__', edge.target)}")
        for why, target in _outs(journey):
            lines.append(f'        {name}___any(["any step"]) -.->|"{_quoted(why)}"| {_id(name, "__", target)}')
        lines.append("    end")
    return "\n".join(lines) + "\n"


def _markdown(journeys: Mapping[str, Journey]) -> str:
    return f"```mermaid\n{_mermaid(journeys)}```\n"


def _dot(journeys: Mapping[str, Journey]) -> str:
    lines = ["digraph journeys {", '    node [shape=box, fontname="sans-serif"];', '    edge [fontname="sans-serif"];']
    for name, journey in journeys.items():
        lines.append(f'    subgraph "cluster_{name}" {{')
        lines.append(f'        label="{name}";')
        lines.append(f'        "{name}/start" [shape=oval, label="{_escaped(journey.start)}"];')
        lines.append(f'        "{name}/end" [shape=oval, label="{END}"];')
        for label, step in zip(step_names(journey), journey.steps, strict=True):
            shape = "diamond" if step.kind in ("branch", "split") else "box"
            lines.append(f'        "{name}.{label}" [shape={shape}, label="{_escaped(described(step))}"];')
        lines.append(f'        "{name}/start" -> "{name}.{step_names(journey)[0]}";')
        for edge in edges(journey):
            lines.append(
                f'        "{name}.{edge.source}" -> "{_id(name, ".", edge.target)}" [label="{_escaped(edge.why)}"];'
            )
        for why, target in _outs(journey):
            lines.append(f'        "{name}/any" [shape=oval, label="any step"];')
            lines.append(f'        "{name}/any" -> "{_id(name, ".", target)}" [style=dashed, label="{_escaped(why)}"];')
        lines.append("    }")
    return "\n".join([*lines, "}"]) + "\n"


def _id(name: str, between: str, step: str) -> str:
    """The box of a step, or of the end; no step is called like the end, the start and `any step`."""
    if step == END:
        return f"{name}___end" if between == "__" else f"{name}/end"
    return f"{name}{between}{step}"


def _outs(journey: Journey) -> list[tuple[str, str]]:
    """(why, where to) of what ends it in the middle."""
    goal = [(f"goal {journey.goal}", END)] if journey.goal is not None else []
    exits = [(f"exit {leave.event or leave.when}", END) for leave in journey.exit]
    return [*goal, *exits, (f"after {format_duration(journey.max_length)}", END)]


def _short(text: str) -> str:
    return text if len(text) <= _MOST else text[: _MOST - 3] + "..."


def _quoted(text: str) -> str:
    """As Mermaid reads it between double quotes."""
    return _short(text).replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")


def _escaped(text: str) -> str:
    """As Graphviz reads it between double quotes."""
    return _short(text).replace("\\", "\\\\").replace('"', '\\"')


_DRAWN: Mapping[str, Callable[[Mapping[str, Journey]], str]] = {".mmd": _mermaid, ".md": _markdown, ".dot": _dot}
