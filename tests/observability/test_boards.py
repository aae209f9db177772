import re
from pathlib import Path

import pytest
import yaml

from observability import boards
from observability.boards import BOARDS, DIRECTORY
from tests.observability.promtool import RULES

# Where metrics are declared, and rules that record some.
SOURCES = (
    "serving/metrics.py",
    "observability/metrics.py",
    "ingestion/metrics.py",
)
LANGUAGE = {
    "sum", "rate", "by", "on", "and", "or", "unless", "increase", "count", "max", "min", "topk",
    "histogram_quantile", "absent", "vector", "inf",
}  # fmt: skip


def names(expression: str) -> set[str]:
    """Name the metrics in an expression: not labels, functions or durations."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(by|on|without)\s*\([^)]*\)", " ", expression)
    return set(re.findall(r"[a-z_:][a-z0-9_:]*[a-z0-9]", bare)) - LANGUAGE


def declared() -> set[str]:
    text = "".join(Path(source).read_text() for source in SOURCES)
    found = set(re.findall(r'"([a-z][a-z0-9_]+)"', text))
    recorded = {
        rule["record"]
        for path in RULES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    suffixes = ("_bucket", "_count", "_sum", "_total")
    return found | recorded | {name + suffix for name in found for suffix in suffixes} | {"up"}


def expressions() -> list[str]:
    rules = [
        rule["expr"]
        for path in RULES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]
    return [*boards.expressions(), *rules]


def test_every_metric_that_is_asked_for_is_one_that_we_expose() -> None:
    unknown = {name for one in expressions() for name in names(one)} - declared()
    assert not unknown


def test_a_misspelt_metric_would_be_noticed() -> None:
    assert names("sum(rate(forecast_totals[5m])) by (outcome)") - declared() == {"forecast_totals"}


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_the_boards_in_git_are_those_of_the_code(board: boards.Board) -> None:
    text = (DIRECTORY / f"{board.uid}.json").read_text()
    assert text == boards.as_json(board), "run: python -m observability.boards"


def test_boards_keep_their_addresses() -> None:
    assert [board.uid for board in BOARDS] == [
        "foreview-api",
        "foreview-features",
        "foreview-quality",
    ]
