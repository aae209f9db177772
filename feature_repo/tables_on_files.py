"""Where exported feature tables lie: a directory or S3, a file of rows per day."""

import os
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import fs

from feature_repo.errors import NoFeatureTables

# A folder per day of `event_timestamp`, in UTC; the column itself stays in the file as well.
PARTITION = "event_date"
PARTITIONING = ds.partitioning(pa.schema([(PARTITION, pa.date32())]), flavor="hive")
FILE = "rows.parquet"


def file_system(location: str) -> tuple[fs.FileSystem, str]:
    """Give the file system of a directory or `s3://bucket/prefix`, and the path in it.

    S3's address, region and keys are those of the usual AWS variables.
    """
    url = urlsplit(location)
    if url.scheme == "s3":
        return fs.S3FileSystem(endpoint_override=s3_endpoint()), f"{url.netloc}{url.path}".strip(
            "/"
        )
    if url.scheme not in ("", "file"):
        raise NoFeatureTables(f"{location}: give a directory or s3://bucket/prefix")
    return fs.LocalFileSystem(), str(Path(url.path).absolute())


def s3_endpoint() -> str | None:
    """Give the address of an S3 that is not Amazon's; Arrow does not look for it itself."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def open_table(location: str) -> ds.Dataset:
    """Open an exported table; raises NoFeatureTables where none was exported."""
    files, path = file_system(location)
    try:
        table = ds.dataset(path, filesystem=files, format="parquet", partitioning=PARTITIONING)
    except OSError as error:
        raise NoFeatureTables(f"{location} cannot be read: {error}") from error
    if not table.files:
        raise NoFeatureTables(f"{location} is empty: run `foreview features export` first")
    return table
