"""Fails on files over 400 lines and functions over 60 (tests: files only), so that each stays readable at a glance."""

import ast
import sys
from pathlib import Path

FILE_LINES, FUNCTION_LINES = 400, 60


def find_oversize(path: Path) -> list[str]:
    """Every place in a file that is too long."""
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    found = [f"{path}: {lines} lines; at most {FILE_LINES}"] if lines > FILE_LINES else []
    if "tests" in path.parts:
        return found
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            size = node.end_lineno - node.lineno + 1
            if size > FUNCTION_LINES:
                found.append(f"{path}:{node.lineno} {node.name}: {size} lines; at most {FUNCTION_LINES}")
    return found


if __name__ == "__main__":
    problems = [
        problem for root in sys.argv[1:] for path in Path(root).rglob("*.py") for problem in find_oversize(path)
    ]
    sys.exit("\n".join(problems) or 0)
