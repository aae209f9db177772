"""What every DAG of ours has in common."""

from datetime import timedelta
from typing import Any

import pendulum

from foreview_dags.alerting import tell_alertmanager

START = pendulum.datetime(2026, 1, 1, tz="UTC")
# One slot: two collections at once would spend the day's units twice as fast.
QUOTA_POOL = "youtube_quota"

DAG_DEFAULTS: dict[str, Any] = {
    "start_date": START,
    "catchup": False,
    "max_active_runs": 1,
    "tags": ["foreview"],
    "default_args": {
        "owner": "foreview",
        "retries": 3,
        "retry_delay": timedelta(minutes=2),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=30),
        "execution_timeout": timedelta(hours=1),
        "on_failure_callback": tell_alertmanager,
    },
}
