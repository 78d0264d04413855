"""A function that tells what it was sent, in its log, and what it was told by its environment, in its answer."""

import os
import sys

import functions_framework.aio as functions_framework
from starlette.requests import Request
from starlette.responses import JSONResponse


@functions_framework.http
async def echo(request: Request) -> JSONResponse:
    """Logs path and body; answers with its environment."""
    body = (await request.body()).decode()
    print(f"got {request.url.path} {body}", file=sys.stderr, flush=True)
    return JSONResponse(dict(os.environ))
