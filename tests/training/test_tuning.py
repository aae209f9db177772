import secrets

import numpy as np
import optuna
import pytest

from tests.training.sets import few_trees, grown
from training import study as studies
from training.errors import TooLittleData
from training.folds import folds
from training.settings import TrainingSettings
from training.study import open_storage
from training.tuning import search


@pytest.fixture(scope="module")
def learnable():
    return grown(900, 3)


@pytest.fixture
def storage(database_url, monkeypatch):
    """A schema of its own for studies, dropped afterwards."""
    import psycopg

    name = f"tuning_{secrets.token_hex(4)}"
    monkeypatch.setattr(studies, "TUNING_SCHEMA", name)
    monkeypatch.setattr("training.settings.TUNING_SCHEMA", name)
    opened = open_storage(TrainingSettings(database_url=database_url))
    yield opened
    opened.remove_session()
    opened.engine.dispose()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {name} CASCADE".encode())


def test_folds_are_judged_on_later_labels_of_other_videos(learnable):
    parts = list(folds(learnable, seed=1))
    assert len(parts) == 3
    for fit, judge in parts:
        asked = judge.rows["event_timestamp"].iloc[judge.labels["row"]]
        assert fit.labels["observed_at"].max() < asked.min()
        videos = [p.rows["video_id"].to_numpy()[p.labels["row"].unique()] for p in (fit, judge)]
        assert not set(videos[0]) & set(videos[1])


def test_too_little_to_tune_on_is_told_as_too_little_to_train_on(learnable):
    few = learnable.where(np.arange(len(learnable.labels)) < 50)
    with pytest.raises(TooLittleData, match="tune"):
        search(few, few_trees(), None, 1, None)


def test_folds_fill_the_time_of_labels_not_of_questions_that_have_none(learnable):
    asked = learnable.rows["event_timestamp"].iloc[learnable.labels["row"]]
    border = asked.quantile(0.6)
    parts = list(folds(learnable.where((asked < border).to_numpy()), seed=1))
    assert len(parts) == 3
    newest = parts[-1][1]
    judged = newest.rows["event_timestamp"].iloc[newest.labels["row"]]
    assert judged.max() == asked[asked < border].max()


def test_a_study_goes_on_where_another_worker_left_it(learnable, storage):
    told: list[str] = []
    search(learnable, few_trees(), storage, 2, None, told.append)
    assert len(told) >= 2
    before = len(told)
    found = search(learnable, few_trees(), storage, 2, None, told.append)
    assert len(told) == before
    assert {"num_leaves", "learning_rate"} <= found.keys()
    search(learnable, few_trees(), storage, 3, None, told.append)
    assert len(told) > before


def test_who_goes_on_with_a_study_tries_nothing_that_was_tried(learnable, storage):
    for trials in (3, 5):
        search(learnable, few_trees(), storage, trials, None)
    (study,) = optuna.get_all_study_summaries(storage)
    drawn = [
        trial.params
        for trial in optuna.load_study(study_name=study.study_name, storage=storage).trials
    ]
    assert len(drawn) >= 5
    assert len({tuple(one.values()) for one in drawn}) == len(drawn)


def test_other_parameters_are_searched_for_in_a_study_of_their_own(learnable, storage):
    for seed in (1, 2):
        told: list[str] = []
        search(
            learnable, few_trees().model_copy(update={"seed": seed}), storage, 2, None, told.append
        )
        assert len(told) >= 2


def test_the_same_seed_finds_the_same(learnable):
    found = [search(learnable, few_trees(), None, 2, None) for _ in range(2)]
    assert found[0] == found[1]
    assert np.isfinite(found[0]["learning_rate"])
