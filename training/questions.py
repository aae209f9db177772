"""What a model learns from and what it is asked, per situation, joined to features."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from training.dataset import Record, TrainingSet, training_set
from training.draft_rows import draft_protocol_rows, draft_training_rows
from training.entity_rows import EntityRows, protocol_rows, training_rows
from training.params import Params

if TYPE_CHECKING:
    from feast import FeatureStore

SITUATIONS = ("published", "draft")
PROTOCOL_HORIZONS = (1, 2, 3, 5, 7, 14, 21, 30)


class Questions(NamedTuple):
    """Questions of a record with their features.

    Attributes:
        drawn: As production would ask: at any moment, for any number of days.
        protocol: As protocol snap-v1 asks: what baselines learn from and all are judged on.
    """

    drawn: TrainingSet
    protocol: TrainingSet


def questions(store: "FeatureStore", situation: str, record: Record, params: Params) -> Questions:
    """Draw and join the questions of a record; raises TooLittleData where there is none."""
    if situation == "published":
        drawn = training_rows(record.snapshots, params.entity_rows, params.seed)
        asked = protocol_rows(record.snapshots, PROTOCOL_HORIZONS)
        return Questions(
            training_set(store, situation, drawn), training_set(store, situation, asked)
        )
    drawn = draft_training_rows(record.snapshots, record.videos, params.entity_rows, params.seed)
    asked = draft_protocol_rows(record.snapshots, record.videos, PROTOCOL_HORIZONS)
    # Describing texts is dear, and both ask about the same drafts.
    joined = training_set(store, situation, drawn)
    return Questions(joined, _asking(joined, asked))


def protocol_questions(
    store: "FeatureStore", situation: str, record: Record, asked_about: pd.DataFrame
) -> TrainingSet:
    """Join the protocol's questions that start from, and are judged by, some observations only."""
    if situation == "published":
        asked = protocol_rows(record.snapshots, PROTOCOL_HORIZONS, asked_about)
    else:
        asked = draft_protocol_rows(record.snapshots, record.videos, PROTOCOL_HORIZONS, asked_about)
    return training_set(store, situation, asked)


def _asking(joined: TrainingSet, asked: EntityRows) -> TrainingSet:
    """Give drafts that were joined already the labels of other rows about them."""
    position = pd.Index(joined.rows["video_id"]).get_indexer(asked.rows["video_id"])
    labels = asked.labels.assign(row=position[asked.labels["row"].to_numpy()])
    labels = labels[labels["row"] >= 0].reset_index(drop=True)
    counts = {m: np.log10(1.0 + labels[m].to_numpy(np.float64)) for m in joined.present}
    return joined._replace(labels=labels.assign(**counts))
