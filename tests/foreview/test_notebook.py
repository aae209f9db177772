"""The notebook runs from top to bottom on a world, and is kept without its outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from feature_repo.store import apply, feast_environment, open_feature_store
from ingestion.feature_tables import build
from ingestion.materializing import built_window, materialize
from ingestion.warehouse import open_warehouse
from tests.worlds import small_world, store

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "historical_features.ipynb"
# What the platform is made of: a notebook for users of Feast needs none of it.
PACKAGES = ("feature_repo", "ingestion", "training", "serving", "observability", "foreview")


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_notebook_holds_no_outputs_and_imports_nothing_of_the_platform():
    cells = code_of(nbformat.read(NOTEBOOK, as_version=4))
    assert [cell for cell in cells if cell.outputs or cell.execution_count] == []
    lines = [line.split() for cell in cells for line in cell.source.splitlines()]
    imported = {words[1] for words in lines if words[:1] in (["import"], ["from"])}
    assert {name.split(".")[0] for name in imported} & set(PACKAGES) == set()


@pytest.mark.full
@pytest.mark.timeout(900)  # a kernel that imports Feast, on a machine that may be busy
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Jupyter's client
def test_the_notebook_runs_from_top_to_bottom(schema, database_url, redis_url, monkeypatch):
    online = redis_url.removesuffix("/0") + "/6"
    environment = feast_environment(database_url, schema, online)
    engine = open_warehouse(database_url, schema)
    store(engine, small_world("n"))
    build(engine)
    registered = open_feature_store(environment)
    apply(registered)
    materialize(registered, built_window(engine))
    engine.dispose()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    ).execute()
    outputs = [output for cell in code_of(notebook) for output in cell.outputs]
    told = "\n".join(str(o.get("text", "")) + str(o.get("data", {})) for o in outputs)
    assert "different online: []" in told
    assert told.count("image/png") == 2
    assert "a second before the edit was seen" in told
    assert "observed_at" in told  # the world has a row that came late
