"""The function that does nothing: what the worker setup itself can carry."""

import functions_framework.aio
from starlette.requests import Request
from starlette.responses import Response


@functions_framework.aio.http
async def empty(request: Request) -> Response:
    """Read the body, as every function that takes one must, and answer."""
    await request.body()
    return Response(b'{"success":true}', media_type="application/json")
