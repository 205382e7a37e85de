"""Words for one customer: a campaign's content rendered with what is known at the moment of the decision.

Names a template may use: `traits`, `event` (properties of the triggering envelope), `item`, `features`, `scores`,
`context`, `customer_id`, `unsubscribe_url` and `preferences_url`. A missing name is empty; `| default: "..."` gives a
fallback.
"""

import re
from collections.abc import Mapping
from typing import Any

from opportune.playbook.schema import Content
from opportune.playbook.templates import RENDER_ERRORS, TemplateInvalid, describe, parse_template

__all__ = ["HTML_CHANNELS", "RenderFailed", "render"]

#: Channels whose body is HTML: values are escaped where they are written.
HTML_CHANNELS = frozenset({"email", "onsite"})
#: A link goes to the web, to an app or to a telephone; never to a script.
_UNSAFE_URL = re.compile(r"^[\s\x00-\x20]*(?:javascript|data|vbscript|file):", re.IGNORECASE)
_SPACE = re.compile(r"[\s\x00-\x1f\x7f]+")


class RenderFailed(ValueError):
    """A content that could not be rendered: which field, and why."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


def render(content: Content, env: Mapping[str, Any], channel: str | None = None) -> dict[str, str]:
    """The texts of one message: `subject`, `body`, `cta`, `url` where the content declares them.

    `channel` decides about the body alone: HTML (values escaped) for e-mail, on-site and when null; plain text else.
    The other three are one line of plain text. The same content and env give the same words. Raises RenderFailed when
    a template breaks a limit or fails, when body, subject or cta come out empty, and when the link would run a script.
    """
    is_html = channel is None or channel in HTML_CHANNELS
    texts = {"body": _text("body", content.body, env, is_html).strip()}
    for field, template in (("subject", content.subject), ("cta", content.cta), ("url", content.url)):
        if template is not None:
            texts[field] = _SPACE.sub(" ", _text(field, template, env, False)).strip()
    for field, text in texts.items():
        if not text:
            raise RenderFailed(f"{field} is empty: give the names it uses a fallback with `default`")
    url = texts.get("url", "")
    if _UNSAFE_URL.match(url):
        raise RenderFailed(f"url leads to `{url[:40]}`: only web, mail, telephone and app links are sent")
    return texts


def _text(field: str, template: str, env: Mapping[str, Any], escape: bool) -> str:
    try:
        return parse_template(template, escape).render(env)
    except TemplateInvalid as error:
        raise RenderFailed(f"{field}: {error}") from error
    except RENDER_ERRORS as error:
        raise RenderFailed(f"{field}: {describe(error)}") from error
