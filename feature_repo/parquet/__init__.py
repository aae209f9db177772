"""The same feature store over exported tables: Parquet on a directory or S3, no server needed."""
