"""Experiments: what is declared, how it stands, whom it has met."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from opportune.api.endpoint import Endpoint, json_response
from opportune.api.keys import Scope
from opportune.api.parts import Parts


class ExperimentRoutes:
    """GET /v1/experiments."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    async def listed(self, request: Request) -> Response:
        """GET /v1/experiments."""
        p = self.parts
        found = await asyncio.to_thread(p.flows.experiments, p.ledger, p.playbook, p.clock)
        return json_response({"experiments": found})

    def endpoints(self) -> list[Endpoint]:
        """What this file serves."""
        return [
            Endpoint(
                method="GET",
                path="/v1/experiments",
                answer=self.listed,
                scope=Scope.ADMIN,
                tag="decisions",
                summary="Experiments and holdouts: status, and units met per variation",
                description="Those of the active playbook. `n_units` counts first exposures.",
                errors=(401, 403, 503),
            )
        ]
