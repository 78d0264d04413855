"""The script: rules from `script.yaml`, the first that matches answers.

Owns how a rule is written and rendered (Jinja's sandbox; a rule sees the request's data blocks and nothing else).
Deliberately not here: reading requests, and the wire format of an answer.

A rule has `prompt` (name@version), `needs` (data blocks), `let` (names for expressions, in order) and `answer`. For a prompt
with tools it also has `calls`: per turn a list of {name, arguments}, before the answer; what they returned is `results`, in
their order. In an answer every string is a template, `{expression: ...}` is a value of its own type, the rest stands as
written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml
from jinja2 import StrictUndefined, TemplateError, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from emulators.gemini import MODEL_VERSION
from emulators.gemini.prompts import Prompt
from emulators.gemini.shapes import SchemaError, drop_unknown, find_mismatch, make_value

DEFAULT_SCRIPT = Path(__file__).with_name("script.yaml")
# A scheme followed by //, or one that browsers run or open without it.
_SCHEME = re.compile(r"\b([a-z][a-z0-9+.-]{1,20})://|\b(javascript|vbscript|data|file|mailto):(?=\S)", re.IGNORECASE)


class ScriptError(ValueError):
    """A request that the script cannot answer: a missing block, or an answer that breaks the schema."""


@dataclass(frozen=True)
class Rule:
    """One entry of the script."""

    prompt: str
    answer: Any
    needs: list[str] = field(default_factory=lambda: [])
    let: dict[str, str] = field(default_factory=lambda: {})
    calls: list[list[dict[str, Any]]] = field(default_factory=lambda: [])


class Script:
    """The rules, ready to answer."""

    def __init__(self, rules: list[Rule]) -> None:
        self._rules = rules
        self._environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=False)
        # Jinja's own type is the union of its built-in filters.
        filters = cast("dict[str, Callable[..., Any]]", self._environment.filters)
        filters.update(strings=join_strings, schemes=find_schemes, prefixed=prefix_all, one_line=to_one_line)

    def answer(self, prompt: Prompt) -> str:
        """Returns the text of the answer: JSON when a schema or JSON is asked for. Raises `ScriptError`."""
        rule = next((rule for rule in self._rules if rule.prompt == prompt.name), None)
        if rule is None:
            return _answer_without_rule(prompt)
        missing = [name for name in rule.needs if name not in prompt.data]
        if missing:
            raise ScriptError(f"script rule {rule.prompt} needs the data blocks {missing}")
        try:
            value = self._render(rule.answer, self._evaluate_names(rule, prompt))
        except (TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
            raise ScriptError(f"script rule {rule.prompt} cannot read its data blocks: {error}") from error
        if prompt.schema is not None:
            value = drop_unknown(value, prompt.schema)
            problem = find_mismatch(value, prompt.schema)
            if problem:
                raise ScriptError(f"script rule {rule.prompt} does not satisfy the response schema: {problem}")
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    def call(self, prompt: Prompt) -> list[dict[str, Any]]:
        """Returns the functions that the model would call now, {name, args}; none when it answers. Raises `ScriptError`."""
        rule = next((rule for rule in self._rules if rule.prompt == prompt.name), None)
        if rule is None or not prompt.tools or prompt.exchanges >= len(rule.calls):
            return []
        made = rule.calls[prompt.exchanges]
        if unknown := [entry["name"] for entry in made if entry["name"] not in prompt.tools]:
            raise ScriptError(f"script rule {rule.prompt} calls {unknown}, which the request does not declare")
        return [{"name": entry["name"], "args": self._render(entry["arguments"], dict(prompt.data))} for entry in made]

    def _evaluate_names(self, rule: Rule, prompt: Prompt) -> dict[str, Any]:
        known = {**prompt.data, "results": prompt.results}
        for name, expression in rule.let.items():
            known[name] = self._evaluate(expression, known)
        return known

    def _evaluate(self, expression: str, known: dict[str, Any]) -> Any:
        value = self._environment.compile_expression(expression, undefined_to_none=False)(**known)
        return None if isinstance(value, Undefined) else value

    def _render(self, answer: Any, known: dict[str, Any]) -> Any:
        if isinstance(answer, str):
            return self._environment.from_string(answer).render(**known).rstrip("\n")
        if isinstance(answer, list):
            return [self._render(entry, known) for entry in cast("list[Any]", answer)]
        if isinstance(answer, dict):
            entries = cast("dict[str, Any]", answer)
            if set(entries) == {"expression"}:
                return self._evaluate(entries["expression"], known)
            return {name: self._render(entry, known) for name, entry in entries.items()}
        return answer


def load_script(path: Path = DEFAULT_SCRIPT) -> Script:
    """Reads the rules of a file; a rule with an unknown key is an error at start, not at the first call."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return Script([Rule(**rule) for rule in content["rules"]])


def find_schemes(text: str) -> list[str]:
    """Returns the URL schemes in a text, in lower case, each once, in order."""
    found = ((match[1] or match[2]).lower() for match in _SCHEME.finditer(text))
    return list(dict.fromkeys(found))


def join_strings(value: object) -> str:
    """Returns every string inside a JSON value, one a line."""
    return "\n".join(_find_strings(value))


def prefix_all(values: list[str], prefix: str) -> list[str]:
    """Returns each value as `prefix: value`."""
    return [f"{prefix}: {value}" for value in values]


def to_one_line(value: object) -> str:
    """Returns a value's text without line breaks, so that it can stand in an email's subject."""
    return " ".join(str(value).split())


def _answer_without_rule(prompt: Prompt) -> str:
    if prompt.schema is not None:
        try:
            return json.dumps(make_value(prompt.schema), ensure_ascii=False)
        except SchemaError as error:
            raise ScriptError(str(error)) from error
    text = f"This answer is scripted ({MODEL_VERSION}): no rule is written for prompt {prompt.name or '(unnamed)'!r}."
    return json.dumps({"text": text}) if prompt.wants_json else text


def _find_strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for entry in cast("dict[str, Any]", value).values():
            yield from _find_strings(entry)
    elif isinstance(value, list):
        for entry in cast("list[Any]", value):
            yield from _find_strings(entry)
