"""Prints a stack's monthly bill: `make bill STACK=dev`, or `cd pulumi && ../.venv/bin/python -m bill prod busy`."""

from __future__ import annotations

import sys

from policy.record import STACKS, record_stack

from bill.statement import USUAL_LOADS, make_statement, render
from bill.tables import read_loads, read_prices


def main(arguments: list[str]) -> int:
    """Print the bill of a stack under a load."""
    stack = arguments[0] if arguments else ""
    load = arguments[1] if len(arguments) > 1 and arguments[1] else USUAL_LOADS.get(stack, "")
    loads = read_loads()
    if stack not in STACKS or load not in loads or len(arguments) > 2:
        known = f"STACK: {', '.join(STACKS)}; LOAD: {', '.join(loads)}"
        sys.stderr.write(f"usage: python -m bill STACK [LOAD]; {known}\n")
        return 2
    sys.stdout.write(render(make_statement(record_stack(stack), load, loads[load], read_prices())) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
