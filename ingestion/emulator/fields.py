"""The parameter `fields`: only the asked parts of an answer, as Google's partial responses."""

import re
from typing import Any

from ingestion.emulator.errors import invalid_value

# Name -> what is wanted of it; an empty tree asks for all of it.
Tree = dict[str, "Tree"]

_TOKEN = re.compile(r"[A-Za-z][\w-]*|[*(),/]")
_MAX_DEPTH = 20


def parse_fields(text: str) -> Tree:
    """Read `items(id,statistics/viewCount),nextPageToken`; raises the API's refusal."""
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != text.replace(" ", ""):
        raise _refusal(text)
    try:
        tree = _list(tokens, 0)
    except IndexError as error:
        raise _refusal(text) from error
    if tokens:
        raise _refusal(text)
    return tree


def selected(document: Any, tree: Tree) -> Any:
    """Give the parts of a document that a tree asks for; what is not there is left out."""
    if not tree:
        return document
    if isinstance(document, list):
        return [selected(part, tree) for part in document]
    if not isinstance(document, dict):
        return document
    everything = tree.get("*")
    wanted = {name: tree.get(name, everything) for name in document}
    return {
        name: selected(part, subtree)
        for name, part in document.items()
        if (subtree := wanted[name]) is not None
    }


def _list(tokens: list[str], depth: int) -> Tree:
    if depth > _MAX_DEPTH:
        raise IndexError("too deep")
    tree: Tree = {}
    while True:
        _path(tokens, tree, depth)
        if not tokens or tokens[0] != ",":
            return tree
        tokens.pop(0)


def _path(tokens: list[str], tree: Tree, depth: int) -> None:
    name = tokens.pop(0)
    if name in "(),/":
        raise IndexError(name)
    below = tree.setdefault(name, {})
    if tokens and tokens[0] == "/":
        tokens.pop(0)
        _path(tokens, below, depth + 1)
    elif tokens and tokens[0] == "(":
        tokens.pop(0)
        below.update(_list(tokens, depth + 1))
        if tokens.pop(0) != ")":
            raise IndexError("not closed")


def _refusal(text: str) -> Exception:
    return invalid_value("fields", f"Invalid field selection {text}")
