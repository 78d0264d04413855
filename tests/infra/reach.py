"""What an entry point's code can reach, read from its source without running it.

Follows names from function to function through imports, and methods by rapid type analysis: a method counts when its
class is used somewhere on the way and its name is, too. Annotations and `Fake...` classes do not count. What is found on
the way, clients, names of topics and secrets, statements, is handed on as evidence; what it means is `test_uses.py`'s.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

from schemas import topology

ROOT = topology.PATH.parent.parent
OURS = ("functions", "agents")
Place = tuple[str, str]  # module, and a name in it: `f`, `Class` or `Class.method`


@dataclass
class Module:
    """One source file: what it defines and where its names come from."""

    name: str
    defined: dict[str, ast.AST] = field(default_factory=dict[str, ast.AST])
    imported: dict[str, str] = field(default_factory=dict[str, str])


@dataclass
class Evidence:
    """What one place mentions."""

    places: set[Place] = field(default_factory=set[Place])
    outside: set[str] = field(default_factory=set[str])
    attributes: set[str] = field(default_factory=set[str])
    texts: set[str] = field(default_factory=set[str])


@cache
def read_modules() -> dict[str, Module]:
    """Every module of the image's own code by its dotted name."""
    found: dict[str, Module] = {}
    for folder in OURS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = _read_module(name, ast.parse(path.read_text("utf-8")))
    return found


def _read_module(name: str, tree: ast.Module) -> Module:
    module = Module(name)
    for node in tree.body:
        module.imported |= dict(_imports(node))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            module.defined[node.name] = node
        if isinstance(node, ast.ClassDef):
            methods = (part for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef))
            module.defined |= {f"{node.name}.{part.name}": part for part in methods}
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            module.defined |= {part.id: node.value for part in targets if isinstance(part, ast.Name)}
    return module


def _imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    """(local name, dotted target) of an import statement; a relative one does not occur in this repository."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.asname or alias.name.partition(".")[0], alias.name if alias.asname else alias.name.split(".")[0]
    elif isinstance(node, ast.ImportFrom):
        yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """Every node below, without annotations and, in a class, without its methods."""
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "type_params"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST):
                continue
            if isinstance(node, ast.ClassDef) and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            yield child
            yield from _walk(child)


def gather(place: Place) -> Evidence:
    """What the code of one place mentions."""
    module = read_modules()[place[0]]
    node, found = module.defined[place[1]], Evidence()
    nodes = [node, *_walk(node)]
    known = dict(module.imported)
    for part in nodes:
        local = dict(_imports(part))
        known |= local
        found.outside |= {target for target in local.values() if not target.startswith(OURS)}
    for part in nodes:
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            found.texts.add(part.value)
        elif isinstance(part, ast.Attribute):
            found.attributes.add(part.attr)
            if isinstance(part.value, ast.Name) and part.value.id in known:
                _note(f"{known[part.value.id]}.{part.attr}", found)
        elif isinstance(part, ast.Name):
            if part.id in known:
                _note(known[part.id], found)
            elif part.id in module.defined:
                found.places.add((module.name, part.id))
    if "pkgutil.iter_modules" in found.outside:  # a package that finds its own modules uses what all of them offer
        found.places |= set(_list_functions(f"{module.name}."))
    return found


def _list_functions(prefix: str) -> Iterator[Place]:
    for name, module in read_modules().items():
        if name.startswith(prefix):
            yield from (
                (name, defined) for defined, node in module.defined.items() if isinstance(node, ast.FunctionDef)
            )


def _note(target: str, found: Evidence) -> None:
    """A dotted name: a place of ours, through whatever re-exports it, or something outside."""
    owner, _, name = target.rpartition(".")
    modules = read_modules()
    if target in modules:  # a module: what is used of it is named where it is used
        return
    if owner in modules and name in modules[owner].defined:
        found.places.add((owner, name))
    elif owner in modules and name in modules[owner].imported:
        _note(modules[owner].imported[name], found)
    elif not target.startswith(OURS):
        found.outside.add(target)


def reach(roots: Iterable[Place]) -> dict[Place, Evidence]:
    """Every place that the roots can reach, with what it mentions."""
    reached: dict[Place, Evidence] = {}
    waiting = list(roots)
    while waiting:
        while waiting:
            place = waiting.pop()
            if place in reached or place[1].startswith("Fake"):
                continue
            reached[place] = gather(place)
            waiting += sorted(reached[place].places)
        attributes = {name for found in reached.values() for name in found.attributes}
        waiting = [place for place in _find_methods(reached, attributes) if place not in reached]
    return reached


def _find_methods(reached: Iterable[Place], attributes: set[str]) -> Sequence[Place]:
    """Methods of the reached classes whose names are mentioned anywhere on the way; dunder methods always."""
    modules = read_modules()
    found: list[Place] = []
    for module, name in list(reached):
        if isinstance(modules[module].defined[name], ast.ClassDef):
            for defined in modules[module].defined:
                owner, _, method = defined.partition(".")
                if owner == name and method and (method in attributes or method.startswith("__")):
                    found.append((module, defined))
    return found
