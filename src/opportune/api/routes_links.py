"""Pages that customers open by a signed link: unsubscribe and preferences. No key, no cookie, no redirect."""

import asyncio
from datetime import timedelta
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from opportune.api import pages
from opportune.api.endpoint import SMALL, Answering, Endpoint, body_of
from opportune.api.page_texts import language_of
from opportune.api.parts import Parts
from opportune.domain.links import ONE_CLICK, Link, LinkForged, LinkStale, Page, seal, unseal
from opportune.flows.preferences import Preferences

MAX_FIELDS = 2000


class LinkRoutes:
    """GET and POST of /unsubscribe/{token} and /preferences/{token}. GET never changes anything: scanners prefetch."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        days = parts.settings
        self.lifetimes = {
            Page.UNSUBSCRIBE: timedelta(days=days.unsubscribe_link_days),
            Page.PREFERENCES: timedelta(days=days.preferences_link_days),
        }

    async def ask(self, request: Request) -> Response:
        """GET /unsubscribe/{token}."""
        link = self.link_of(request, Page.UNSUBSCRIBE)
        if isinstance(link, Response):
            return link
        language = await self.language(request, link)
        return pages.unsubscribe_page(language, link.channel, self.topic(link), self.way_to_preferences(link))

    async def unsubscribe(self, request: Request) -> Response:
        """POST /unsubscribe/{token}: by the button, or by a mail client with `List-Unsubscribe=One-Click`."""
        link = self.link_of(request, Page.UNSUBSCRIBE)
        if isinstance(link, Response):
            return link
        # RFC 8058 allows a form of either kind: the words are in the body as they are, or as a field of a multipart one
        body = await body_of(request, SMALL)
        how = "one_click" if ONE_CLICK.encode() in body or b'name="List-Unsubscribe"' in body else "page"
        p = self.parts
        await asyncio.to_thread(p.flows.unsubscribe, link, how, p.playbook, p.ledger, p.clock)
        language = await self.language(request, link)
        return pages.unsubscribed_page(language, link.channel, self.topic(link), self.way_to_preferences(link))

    async def preferences(self, request: Request) -> Response:
        """GET /preferences/{token}."""
        link = self.link_of(request, Page.PREFERENCES)
        if isinstance(link, Response):
            return link
        shown = await self.shown(link)
        return pages.preferences_page(language_in(request, shown), shown)

    async def save(self, request: Request) -> Response:
        """POST /preferences/{token}: what differs from what was shown."""
        link = self.link_of(request, Page.PREFERENCES)
        if isinstance(link, Response):
            return link
        fields = form_of(await body_of(request, SMALL))
        is_all_out = ("do", "none") in fields
        changes, profiling = changed_in(fields)
        p = self.parts
        shown = await asyncio.to_thread(
            p.flows.choose, link, changes, profiling, is_all_out, p.playbook, p.ledger, p.clock
        )
        return pages.preferences_page(language_in(request, shown), shown, "all_out_done" if is_all_out else "saved")

    def link_of(self, request: Request, page: Page) -> Link | Response:
        """What the token in the path says, or the page that says why it opens nothing (404, or 410 when it is old)."""
        p, token = self.parts, request.path_params["token"]
        try:
            return unseal(token, page, p.desk.secret, p.clock.now(), self.lifetimes[page])
        except LinkForged:
            return pages.refusal_page(language_in(request), "invalid", 404)
        except LinkStale:
            return pages.refusal_page(language_in(request), "stale", 410)

    async def shown(self, link: Link) -> Preferences:
        """What the customer sees."""
        p = self.parts
        return await asyncio.to_thread(p.flows.preferences, link, p.playbook, p.ledger)

    async def language(self, request: Request, link: Link) -> str:
        """The customer's language, else the browser's."""
        return language_in(request, await self.shown(link))

    def topic(self, link: Link) -> str | None:
        """What the unsubscribe page names; null: the whole channel."""
        if self.parts.playbook.spec.consent.unsubscribe == "channel":
            return None
        topic = self.parts.playbook.spec.topics.get(link.topic)
        return (topic.description if topic else "") or link.topic.replace("_", " ")

    def way_to_preferences(self, link: Link) -> str | None:
        """The path from an unsubscribe page to the preferences, while a link of that message's age opens them."""
        if self.parts.clock.now() - link.issued_at > self.lifetimes[Page.PREFERENCES]:
            return None
        return f"../{Page.PREFERENCES.value}/{seal(link, Page.PREFERENCES, self.parts.desk.secret)}"

    def endpoints(self) -> list[Endpoint]:
        """What this file serves. For browsers and mail clients, so not in the reference of the API."""
        answers: tuple[tuple[str, Page, Answering, str], ...] = (
            ("GET", Page.UNSUBSCRIBE, self.ask, "Ask whether to unsubscribe; changes nothing"),
            ("POST", Page.UNSUBSCRIBE, self.unsubscribe, "Unsubscribe at once (RFC 8058)"),
            ("GET", Page.PREFERENCES, self.preferences, "Show preferences; changes nothing"),
            ("POST", Page.PREFERENCES, self.save, "Save preferences"),
        )
        return [
            Endpoint(
                method=method,
                path=f"/{page.value}/{{token}}",
                answer=answer,
                scope=None,
                tag="customers",
                summary=summary,
                errors=(),
                in_schema=False,
            )
            for method, page, answer, summary in answers
        ]


def language_in(request: Request, shown: Preferences | None = None) -> str:
    """The language of a page for this request."""
    return language_of(shown.language if shown else None, request.headers.get("accept-language"))


def form_of(body: bytes) -> list[tuple[str, str]]:
    """The fields of a form; what is no form has none."""
    try:
        return parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        return []


def changed_in(fields: list[tuple[str, str]]) -> tuple[dict[tuple[str, str], bool], bool | None]:
    """((channel, topic) -> agreed, profiling) where a box differs from what it was when shown; null: not touched."""
    ticked = {f"{name}:{value}" for name, value in fields if name in ("on", "profiling")}
    changes: dict[tuple[str, str], bool] = {}
    profiling: bool | None = None
    for name, value in fields:
        box, _, before = value.rpartition(":")
        is_on = box in ticked
        if name != "was" or before not in ("in", "out") or is_on == (before == "in"):
            continue
        if box == "profiling:in":
            profiling = is_on
        elif box.startswith("on:"):
            channel, _, topic = box.removeprefix("on:").partition("/")
            changes[channel, topic] = is_on
    return changes, profiling
