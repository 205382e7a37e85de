"""The pages that customers see: small, whole in themselves, usable without JavaScript, by keyboard, by screen reader.

Every value is escaped where it is written. Forms go to the page's own address, so the pages work behind any prefix.
"""

import base64
import hashlib
from collections.abc import Mapping
from html import escape

from starlette.responses import Response

from opportune.api.page_texts import TEXTS
from opportune.flows.preferences import Preferences, Row

_STYLE = """
:root{color-scheme:light dark;--ink:#1d2125;--soft:#565e66;--paper:#fff;--line:#d5d9dd;--do:#0b57a4;--on:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#a9b1b9;--paper:#15181b;--line:#3a4046;--do:#8ab8f0;--on:#10151a}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:1.0625rem/1.5 system-ui,sans-serif}
main{max-width:38rem;margin:0 auto;padding:3rem 1.25rem}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 1rem}
p,form{margin:0 0 1rem}
.soft{color:var(--soft);font-size:.95rem}
.done{border-left:.3rem solid var(--do);padding:.5rem .9rem;margin:0 0 1.5rem}
button{font:inherit;font-weight:600;border-radius:.4rem;padding:.65rem 1.3rem;cursor:pointer;
border:.1rem solid var(--do);background:var(--do);color:var(--on)}
button.quiet{background:none;color:var(--do)}
a{color:var(--do)}
fieldset{border:0;border-top:.0625rem solid var(--line);margin:0;padding:1rem 0}
legend{font-weight:600;padding:0;float:left;width:100%;margin-bottom:.35rem}
legend+*{clear:both}
label{display:flex;gap:.7rem;align-items:flex-start;padding:.35rem 0}
input{width:1.25rem;height:1.25rem;margin:.13rem 0 0;flex:none;accent-color:var(--do)}
small{display:block;color:var(--soft);font-size:.9rem}
.row{display:flex;flex-wrap:wrap;gap:.8rem;margin-top:1.2rem}
:focus-visible{outline:.2rem solid var(--do);outline-offset:.15rem}
""".replace("\n", "")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}


def unsubscribe_page(language: str, channel: str, topic: str | None, preferences_path: str | None) -> Response:
    """The question, and one button. `topic` null: the whole channel; `preferences_path` null: no way there."""
    t = TEXTS[language]
    ask = _fill(t["unsubscribe_ask" if topic is None else "unsubscribe_topic_ask"], t, channel, topic)
    body = (
        f"<p>{ask}</p><form method=post>"
        f"<button name=unsubscribe value=yes>{escape(t['unsubscribe_button'])}</button></form>"
        f"<p class=soft>{escape(t['unsubscribe_note'])}</p>{_way_on(t, preferences_path)}"
    )
    return _page(language, t["unsubscribe_title"], body)


def unsubscribed_page(language: str, channel: str, topic: str | None, preferences_path: str | None) -> Response:
    """It is done."""
    t = TEXTS[language]
    said = _fill(t["unsubscribed" if topic is None else "unsubscribed_topic"], t, channel, topic)
    body = f"<p>{said}</p><p class=soft>{escape(t['unsubscribe_note'])}</p>{_way_on(t, preferences_path)}"
    return _page(language, t["unsubscribed_title"], body)


def preferences_page(language: str, shown: Preferences, done: str | None = None) -> Response:
    """A box per topic and channel, one for profiling, and a button that ends it all. `done`: key of what was done.

    Each box comes with what it was when shown: only what the customer changed is saved.
    """
    t = TEXTS[language]
    told = f"<p class=done role=status>{escape(t[done])}</p>" if done else ""
    boxes = "".join(_fieldset(t, row) for row in shown.rows)
    intro = escape(t["preferences_intro" if shown.rows else "preferences_none"])
    body = (
        f"{told}<p>{intro}</p><form method=post>{boxes}"
        f"<fieldset><legend>{escape(t['profiling_title'])}</legend>"
        f"{_box(t['profiling'], 'profiling', 'in', shown.is_profiled, t['profiling_note'])}</fieldset>"
        f"<div class=row><button name=do value=save>{escape(t['save'])}</button>"
        f"<button class=quiet name=do value=none>{escape(t['all_out'])}</button></div></form>"
    )
    return _page(language, t["preferences_title"], body)


def refusal_page(language: str, kind: str, status: int) -> Response:
    """Why a link opens nothing. `kind`: `invalid` or `stale`."""
    t = TEXTS[language]
    return _page(language, t[f"{kind}_title"], f"<p>{escape(t[kind])}</p>", status)


def _fieldset(t: Mapping[str, str], row: Row) -> str:
    label = row.label or row.topic.replace("_", " ").capitalize()
    boxes = "".join(
        _box(
            t[channel][:1].upper() + t[channel][1:],
            "on",
            f"{channel}/{row.topic}",
            setting == "in",
            t["closed"] if setting == "closed" else "",
            is_closed=setting == "closed",
        )
        for channel, setting in row.settings.items()
    )
    return f"<fieldset><legend>{escape(label)}</legend>{boxes}</fieldset>"


def _box(label: str, name: str, value: str, is_on: bool, note: str = "", is_closed: bool = False) -> str:
    was = f'<input type=hidden name="was" value="{escape(name)}:{escape(value)}:{"in" if is_on else "out"}">'
    flags = (" checked" if is_on else "") + (" disabled" if is_closed else "")
    small = f"<small>{escape(note)}</small>" if note else ""
    box = f'<input type=checkbox name="{escape(name)}" value="{escape(value)}"{flags}>'
    return f"<label>{box}<span>{escape(label)}{small}</span></label>{'' if is_closed else was}"


def _fill(text: str, t: Mapping[str, str], channel: str, topic: str | None) -> str:
    return escape(text.format(channel=t.get(channel, channel), topic=topic or ""))


def _way_on(t: Mapping[str, str], preferences_path: str | None) -> str:
    if preferences_path is None:
        return ""
    return f'<p><a href="{escape(preferences_path)}">{escape(t["to_preferences"])}</a></p>'


def _page(language: str, title: str, body: str, status: int = 200) -> Response:
    html = (
        f'<!doctype html><html lang="{escape(language)}"><head><meta charset=utf-8>'
        '<meta name=viewport content="width=device-width, initial-scale=1"><meta name=robots content=noindex>'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
    return Response(html, status, _HEADERS, "text/html")
