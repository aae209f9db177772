"""Table of contents for `feast apply` in this directory: all of the platform's, on files."""

import os

from feature_repo.parquet.sources import on_files

# Feast's command line registers what it finds among the names of this module.
for number, registered in enumerate(on_files(os.environ["FOREVIEW_FEATURES_URL"])):
    globals()[f"registered_{number}"] = registered
