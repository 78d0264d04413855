"""The function `trace`: why did this person get that? A task's timeline over HTTP, for callers that IAM lets in.

Owns the routes and the shapes of the answers; the reading is `agents.audit`'s.
"""

from __future__ import annotations

import asyncio

import functions_framework.aio
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from agents.audit import page, timeline
from agents.tools import warehouse
from functions.answers import answer
from functions.parameters import read_number

TASKS = "/v1/tasks"
COUNTS = range(1, 501)


@functions_framework.aio.http
async def trace(request: Request) -> Response:
    """GET /v1/tasks[?user_id=...&count=20] and GET /v1/tasks/<task_id>; HTML when the caller prefers it, else JSON."""
    if request.method != "GET":
        return answer(405, {"error": f"{request.method} is not supported; use GET"})
    path = request.url.path.rstrip("/")
    as_page = "text/html" in request.headers.get("accept", "")
    if path == TASKS:
        return await _list(request, as_page=as_page)
    if path.startswith(f"{TASKS}/") and 0 < len(task_id := path.removeprefix(f"{TASKS}/")) <= 256:
        return await _show(task_id, as_page=as_page)
    return answer(404, {"error": f"no route {path!r:.80}; there are {TASKS} and {TASKS}/<task id>"})


async def _list(request: Request, *, as_page: bool) -> Response:
    given = request.query_params.get("count", str(timeline.LATEST_TASKS))
    count = read_number(given, COUNTS)
    if count is None:
        return answer(400, {"error": f"count must be a number from {COUNTS[0]} to {COUNTS[-1]}, not {given!r:.20}"})
    user_id = request.query_params.get("user_id", "")
    tasks = await asyncio.to_thread(timeline.list_tasks, warehouse.bigquery(), user_id, count)
    return HTMLResponse(page.render_list(tasks)) if as_page else answer(200, {"tasks": tasks})


async def _show(task_id: str, *, as_page: bool) -> Response:
    found = await asyncio.to_thread(timeline.read_task, task_id, warehouse.bigquery())
    if found is None:
        return answer(404, {"error": f"nothing is on record about task {task_id!r:.80}; {TASKS} lists the latest"})
    task, nodes = found
    return HTMLResponse(page.render_task(task, nodes)) if as_page else answer(200, {"task": task, "timeline": nodes})
