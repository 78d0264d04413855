"""The scripted Gemini, set to lie in a third of its first answers: `python -m tests.benchmarks.lying_model --port N`.

Owns the lies; the wire is the stand-in's own. Each kind of lie has its turn. Told what was wrong, it lies again every second
time. GET /_lies counts what it has said. `--silent` does not lie: it never answers.
"""

from __future__ import annotations

import argparse
import json
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from emulators.gemini.faults import FaultPlan, Faults
from emulators.gemini.prompts import Prompt
from emulators.gemini.rest import Service, build_app
from emulators.gemini.script import DEFAULT_SCRIPT, Script, load_script

PROMPT = "choose_product@2"
LIE_EVERY = 3
SILENCE_SECONDS = 60.0
Data = dict[str, Any]


def _say(data: Data, reason: str, **more: Any) -> str:
    """An answer about the first candidate that cites everything there is, so that only its words are false."""
    best = data["candidates"][0]
    cited = [fact["id"] for fact in (*best["evidence"], *data["context"]["recent"])]
    return json.dumps({"productId": best["productId"], "reason": reason, "evidence": cited} | more, ensure_ascii=False)


def _best(data: Data) -> str:
    return data["candidates"][0]["name"]


def _other(data: Data) -> str:
    return data["candidates"][-1]["name"]


LIES: dict[str, Callable[[Data], str]] = {
    "invented product": lambda d: _say(d, f"{_best(d)} goes well with the Garden Gnome Deluxe."),
    "invented relation": lambda d: _say(d, f"Others bought {_best(d)} together with {_other(d)}."),
    "invented count": lambda d: _say(d, f"Others bought {_best(d)} in 98765 orders."),
    "invented event": lambda d: _say(d, f"You ordered {_other(d)} last week, so {_best(d)} is a good match."),
    "own event": lambda d: _say(d, f"You bought {_best(d)} before."),
    "price": lambda d: _say(d, f"{_best(d)} for only £ 3.99."),
    "discount": lambda d: _say(d, f"Save 50% on {_best(d)} today."),
    "quality": lambda d: _say(d, f"{_best(d)} is waterproof and handmade."),
    "wrong product id": lambda d: _say(d, f"{_best(d)} is a good match.", productId="p99999999"),
    "another's evidence": lambda d: _say(d, "It is a good match.", evidence=[d["candidates"][-1]["evidence"][0]["id"]]),
    "invented evidence": lambda d: _say(d, f"{_best(d)} is a good match.", evidence=["c1", "c77.7"]),
    "no evidence": lambda d: _say(d, f"{_best(d)} is a good match.", evidence=[]),
    "German": lambda d: _say(d, f"{_best(d)} passt wunderbar zu Ihrem Einkauf."),
    "Korean": lambda d: _say(d, f"고객님께 {_best(d)} 상품을 오늘만 할인합니다."),
    "empty reason": lambda d: _say(d, ""),
    "too long": lambda d: _say(d, f"{_best(d)} is a good match. " * 200),
    "empty answer": lambda _: "",
    "no JSON": lambda d: f"I recommend {_best(d)}!",
    "link": lambda d: _say(d, f"{_best(d)}: see https://example.com/buy now."),
    "bestseller": lambda d: _say(d, f"{_best(d)} is our bestseller."),
    "invented buyers": lambda d: _say(d, f"{_best(d)} is popular: bought by 87654 people."),
}


class LyingScript(Script):
    """Answers as the script does, but for its lies."""

    def __init__(self, honest: Script) -> None:
        super().__init__([])
        self._honest = honest
        self._first = self._told = self._lied = 0
        self.said: Counter[str] = Counter()

    def answer(self, prompt: Prompt) -> str:
        """The text of the answer."""
        if prompt.name != PROMPT:
            return self._honest.answer(prompt)
        if "rejected" in prompt.data["context"]:
            self._told += 1
            lies = self._told % 2 == 0
        else:
            self._first += 1
            lies = self._first % LIE_EVERY == 0
        if not lies:
            self.said["honest"] += 1
            return self._honest.answer(prompt)
        kind = list(LIES)[self._lied % len(LIES)]
        self._lied += 1
        self.said[kind] += 1
        return LIES[kind](dict(prompt.data))


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.lying_model", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--silent", action="store_true")
    arguments = parser.parse_args()
    script = LyingScript(load_script(DEFAULT_SCRIPT))
    silence = FaultPlan(latency_seconds=SILENCE_SECONDS if arguments.silent else 0.0)
    app = build_app(Service(script, Faults(silence)))

    async def show_lies(_request: Request) -> JSONResponse:
        return JSONResponse(script.said)

    app.router.routes.insert(0, Route("/_lies", show_lies))
    listener = socket.create_server((arguments.host, arguments.port), backlog=128)
    config = uvicorn.Config(app, loop="asyncio", log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
