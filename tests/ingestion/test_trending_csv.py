"""Trending exports as people have them: every row becomes records, or says why it does not."""

import gzip
from datetime import UTC, datetime

import pytest

from feature_repo.clock import fixed_clock
from ingestion import warehouse as w
from ingestion.errors import UnreadableFile
from ingestion.loading import load
from ingestion.trending_csv import TrendingExport
from tests.ingestion.conftest import LOADED_AT

DATED = (
    "video_id,title,publishedAt,channelId,channelTitle,categoryId,trending_date,tags,view_count,"
    "likes,dislikes,comment_count,thumbnail_link,comments_disabled,ratings_disabled,description\r\n"
)
UNDATED = (
    "video_id,title,channel_title,category_id,tags,views,likes,dislikes,comment_total,"
    "thumbnail_link,date\r\n"
)


def _dated(video_id="abcdefghij1", description='Two\r\nlines, ""quoted""', **columns):
    values = {
        "title": "A title",
        "published": "2020-08-12T07:30:02Z",
        "channel": "UCaaaaaaaaaaaaaaaaaaaaaa",
        "date": "2020-08-12T00:00:00Z",
        "tags": "a|b",
        "views": "100",
        "likes": "7",
        "comments": "3",
        "comments_disabled": "False",
        "ratings_disabled": "False",
    } | columns
    return (
        '"{video_id}","{title}","{published}","{channel}","C","10","{date}","{tags}","{views}",'
        '"{likes}","0","{comments}","https://x/y.jpg","{comments_disabled}","{ratings_disabled}",'
        '"{description}"\r\n'
    ).format(video_id=video_id, description=description, **values)


def _undated(video_id="abcdefghij1", views="100", date="13.09"):
    return f'{video_id},"One, two",C,24,a|b,{views},7,0,3,https://x/y.jpg,{date}\r\n'


def _chunk(content, name="x.csv"):
    (chunk,) = TrendingExport(content, name).chunks("real", "ref", LOADED_AT)
    return chunk


def _reasons(chunk):
    return [rejected.reasons[0] for rejected in chunk.rejected]


def test_a_row_becomes_a_snapshot_and_its_metadata():
    chunk = _chunk((DATED + _dated()).encode())

    (snapshot,), (metadata,) = chunk.snapshots.to_pylist(), chunk.metadata.to_pylist()
    assert snapshot["view_count"] == 100
    assert metadata["description"] == 'Two\r\nlines, "quoted"'
    assert metadata["tags"] == ["a", "b"]
    assert metadata["published_at"] == datetime(2020, 8, 12, 7, 30, 2, tzinfo=UTC)


def test_a_count_of_a_day_is_known_only_when_the_day_is_over():
    chunk = _chunk((DATED + _dated()).encode())

    end = datetime(2020, 8, 12, 23, 59, 59, tzinfo=UTC)
    assert chunk.snapshots["observed_at"].to_pylist() == [end]
    assert chunk.snapshots["ingested_at"].to_pylist() == [end]


def test_what_is_switched_off_is_null_and_no_tags_are_none():
    row = _dated(comments="0", likes="0", comments_disabled="True", ratings_disabled="True")
    chunk = _chunk((DATED + row + _dated("abcdefghij2", tags="[None]")).encode())

    assert chunk.snapshots["like_count"].to_pylist() == [None, 7]
    assert chunk.snapshots["comment_count"].to_pylist() == [None, 3]
    assert chunk.metadata["tags"].to_pylist() == [["a", "b"], None]


def test_the_old_layout_takes_its_year_from_the_name_of_the_file():
    content = b"\xef\xbb\xbf" + (UNDATED + _undated()).encode()

    chunk = _chunk(content, "USvideos_2017.csv")
    assert chunk.snapshots["observed_at"].to_pylist() == [
        datetime(2017, 9, 13, 23, 59, 59, tzinfo=UTC)
    ]
    assert chunk.metadata.num_rows == 0
    assert _reasons(_chunk(content, "USvideos.csv")) == ["date_without_year"]


@pytest.mark.parametrize(
    ("date", "reason"),
    [
        ("", "date_missing"),
        ("10.1", "date_ambiguous"),
        ("31.02", "date_malformed"),
        ("soon", "date_malformed"),
    ],
)
def test_a_date_that_does_not_tell_is_named(date, reason):
    content = (UNDATED + _undated(date=date)).encode()

    assert _reasons(_chunk(content, "2017.csv")) == [reason]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (_dated()[:-20].encode(), "record_cut"),
        (_dated(title="caf\u00e9").encode().replace(b"\xc3\xa9", b"\xc3"), "text_not_utf8"),
        (b"abcdefghij1,only,three\r\n", "columns_missing"),
        (_dated().replace("\r\n", "").encode() + b",more\r\n", "columns_extra"),
        (_dated(views="1.5E+06").encode(), "view_count_malformed"),
        (_dated(date="").encode(), "trending_date_missing"),
        (_dated(published="12 Aug").encode(), "publishedAt_malformed"),
    ],
)
def test_a_damaged_row_is_named_and_its_neighbour_read(row, reason):
    chunk = _chunk(DATED.encode() + _dated("abcdefghij2").encode() + row)

    assert _reasons(chunk) == [reason]
    assert chunk.snapshots["video_id"].to_pylist() == ["abcdefghij2"]


def test_blank_lines_are_no_rows_and_other_csvs_no_exports():
    chunk = _chunk((DATED + "\r\n" + _dated() + "\r\n").encode())
    assert (chunk.snapshots.num_rows, chunk.rejected) == (1, [])

    for content in (b"", b"file,region_code\n1,2\n"):
        with pytest.raises(UnreadableFile):
            TrendingExport(content, "x.csv")


def test_the_rows_of_an_export_add_up(tmp_path, warehouse, landing):
    rows = [
        _dated(),
        _dated(),
        _dated(views="120"),
        _dated("#NAME?"),
        _dated("abcdefghij2", published="2020-09-01T00:00:00Z"),
        _dated("abcdefghij3")[:-9],
    ]
    path = tmp_path / "US_youtube_trending_data.csv.gz"
    path.write_bytes(gzip.compress((DATED + "".join(rows)).encode()))
    (file,) = load([path], warehouse, landing, "real", fixed_clock(LOADED_AT)).files

    counts = file.counts
    assert (counts.read, counts.loaded, counts.duplicate, counts.quarantined) == (6, 1, 0, 5)
    assert counts.reasons == {
        "conflicting_counts": 2,
        "video_id_malformed": 1,
        "published_after_observation": 1,
        "record_cut": 1,
    }
    assert w.read_snapshots(warehouse)["view_count"].to_pylist() == [120]
    assert w.read_metadata(warehouse)["title"].to_pylist() == ["A title"]
