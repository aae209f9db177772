"""The suites run by Great Expectations, with its data docs: a report for people to browse."""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from ingestion.suites import Check

_SITE = "foreview"


@dataclass(frozen=True)
class Examined:
    """A table and what must hold of it."""

    columns: pa.Table
    checks: Sequence[Check]


def build_docs(tables: Mapping[str, Examined], directory: Path) -> Path:
    """Run every suite and write the report; give its first page."""
    context = _context(directory)
    source = context.data_sources.add_pandas("warehouse")
    for name, examined in tables.items():
        _run(context, source, name, examined)
    context.build_data_docs(site_names=[_SITE])
    return directory / "index.html"


def failures(name: str, examined: Examined) -> dict[str, list[int]]:
    """Give the rows that fail, by reason, as Great Expectations finds them."""
    context = _context(None)
    result = _run(context, context.data_sources.add_pandas("warehouse"), name, examined)
    found = {}
    for one in (r for r in result.results if not r.success):
        reason = one.expectation_config.meta["reason"]
        found[reason] = sorted(one.result["unexpected_index_list"])
    return found


def _run(context: Any, source: Any, name: str, examined: Examined) -> Any:
    import great_expectations as gx

    suite = context.suites.add(
        gx.ExpectationSuite(name, expectations=[_expectation(c) for c in examined.checks])
    )
    batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(data=batch, suite=suite, name=name)
    )
    return definition.run(
        batch_parameters={"dataframe": _frame(examined)},
        result_format={"result_format": "COMPLETE", "return_unexpected_index_query": False},
    )


def _frame(examined: Examined) -> pd.DataFrame:
    """Give the columns as Great Expectations reads them: counts that may be null as floats."""
    columns = {}
    for name in dict.fromkeys(check.column for check in examined.checks):
        column = examined.columns[name]
        if pa.types.is_integer(column.type):
            column = column.cast(pa.float64(), safe=False)
        columns[name] = column.to_pandas()
    return pd.DataFrame(columns)


def _expectation(check: Check) -> Any:
    import great_expectations.expectations as gxe

    meta = {"reason": check.reason, "severity": check.severity}
    if check.kind == "not_null":
        return gxe.ExpectColumnValuesToNotBeNull(column=check.column, meta=meta)
    if check.kind == "matches":
        # Arrow's regular expressions say \z where Python's say \Z.
        regex = check.limit.replace(r"\z", r"\Z")
        return gxe.ExpectColumnValuesToMatchRegex(column=check.column, regex=regex, meta=meta)
    bound = {"min_value" if check.kind == "at_least" else "max_value": check.limit}
    return gxe.ExpectColumnValuesToBeBetween(column=check.column, meta=meta, **bound)


def _context(directory: Path | None) -> Any:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports what Python gives up
        import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    if directory is not None:
        site = {
            "class_name": "SiteBuilder",
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": {
                "class_name": "TupleFilesystemStoreBackend",
                "base_directory": str(directory.resolve()),
            },
        }
        context.add_data_docs_site(site_name=_SITE, site_config=site)
    return context
