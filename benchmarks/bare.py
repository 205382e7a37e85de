"""A bare FastAPI endpoint that returns bytes: what HTTP alone costs."""

import gc

from fastapi import FastAPI, Request, Response

app = FastAPI()


@app.post("/bare")
async def bare(request: Request) -> Response:
    """Read the body, answer 200."""
    await request.body()
    return Response(b'{"ok":true}', media_type="application/json")


gc.collect()
gc.freeze()
