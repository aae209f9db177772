"""What manifests name exists in the code, and what the code needs is named in the manifests."""

import json
import re
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml

from foreview.cli import ENTRIES
from serving import routes
from serving.insight_routes import insights
from serving.metrics import ServingMetrics
from serving.settings import ServingSettings
from tests.infrastructure.manifests import (
    OVERLAYS,
    ROOT,
    Manifest,
    containers,
    named,
    of_kind,
    overlay,
    pod_labels,
    pod_spec,
    reaches,
    selects,
    workloads,
)

LOCK = ROOT / "requirements/airflow.txt"
HAPROXY = (ROOT / "serving/haproxy.cfg").read_text()
# Where a server other than ours declares its variables, by the container that runs it.
MLFLOW_VARIABLES = ("utils/cli_args.py", "cli/__init__.py", "environment_variables.py")


@pytest.fixture(params=OVERLAYS)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return overlay(request.param)


def environment(manifests: list[Manifest], workload: Manifest) -> dict[str, str | None]:
    """Give the variables of a workload's first container; None for one that a secret holds."""
    container = next(containers(workload))
    found: dict[str, str | None] = {}
    for source in container.get("envFrom", []):
        name = source["configMapRef"]["name"]
        found |= named(manifests, "ConfigMap", name)["data"]
    return found | {v["name"]: v.get("value") for v in container.get("env", [])}


def api_environment(manifests: list[Manifest]) -> dict[str, str | None]:
    return environment(manifests, named(manifests, "Deployment", "foreview-api"))


def ports(workload: Manifest) -> dict[str, int]:
    return {
        port["name"]: port["containerPort"]
        for container in containers(workload)
        for port in container.get("ports", [])
    }


def test_the_api_is_given_settings_that_exist(manifests):
    settings = {f"FOREVIEW_{name.upper()}" for name in ServingSettings.model_fields}
    assert set(api_environment(manifests)) <= settings


def test_the_api_is_given_every_setting_that_it_cannot_do_without(manifests):
    required = {
        f"FOREVIEW_{name.removeprefix('required_').upper()}"
        for name in dir(ServingSettings)
        if name.startswith("required_")
    }
    assert len(required) == 3
    assert required <= set(api_environment(manifests))


def test_the_api_s_settings_are_valid(manifests):
    given = {name: value or "given" for name, value in api_environment(manifests).items()}
    values = {name.removeprefix("FOREVIEW_").lower(): value for name, value in given.items()}
    settings = ServingSettings(_env_file=None, **values)
    assert settings.api_host == "0.0.0.0"
    api = named(manifests, "Deployment", "foreview-api")
    assert ports(api) == {"http": settings.api_port, "metrics": settings.api_metrics_port}
    mounts = {mount["mountPath"] for mount in next(containers(api))["volumeMounts"]}
    assert {str(settings.state_dir), "/tmp"} <= mounts


def test_the_api_runs_a_command_that_exists(manifests):
    assert next(containers(named(manifests, "Deployment", "foreview-api")))["args"][0] in ENTRIES


def test_the_api_s_image_agrees_with_its_pod(manifests):
    dockerfile = ROOT / "serving/Dockerfile"
    if not dockerfile.exists():
        pytest.skip("serving/Dockerfile does not exist yet")
    text = dockerfile.read_text()
    api = named(manifests, "Deployment", "foreview-api")
    user = pod_spec(api)["securityContext"]
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}" in text
    assert f"EXPOSE {ports(api)['http']}" in text
    assert 'ENTRYPOINT ["foreview"]' in text
    assert f"FOREVIEW_STATE_DIR={api_environment(manifests)['FOREVIEW_STATE_DIR']}" in text


def test_the_api_is_probed_and_scraped_at_paths_that_exist(manifests):
    known = {route.path for route in (*routes.operations.routes, *routes.exposition.routes)}
    container = next(containers(named(manifests, "Deployment", "foreview-api")))
    probes = ("startupProbe", "readinessProbe", "livenessProbe")
    asked = {container[probe]["httpGet"]["path"] for probe in probes}
    for monitor in of_kind(manifests, "ServiceMonitor"):
        asked |= {endpoint["path"] for endpoint in monitor["spec"]["endpoints"]}
    asked |= set(re.findall(r"option httpchk GET (\S+)", HAPROXY))
    assert asked <= known
    assert {"/livez", "/readyz"} <= asked


def test_routes_that_the_load_balancer_treats_apart_exist():
    known = {route.path for route in (*routes.api.routes, *insights.routes)}
    suffixes = re.findall(r"path_end (\S+)", HAPROXY)
    assert suffixes
    for suffix in suffixes:
        assert any(path.endswith(suffix) for path in known), suffix


def test_the_load_balancer_listens_where_its_pod_says(manifests):
    deployment = named(manifests, "Deployment", "foreview-haproxy")
    variables = environment(manifests, deployment)
    listening = {"http": "FOREVIEW_HAPROXY_BIND", "operations": "FOREVIEW_HAPROXY_STATS"}
    for name, port in ports(deployment).items():
        assert variables[listening[name]] == f"*:{port}"
    api = named(manifests, "Service", "foreview-api")
    # In full: haproxy's own resolver adds no search domain.
    where = f"foreview-api.$(POD_NAMESPACE).svc.cluster.local:{api['spec']['ports'][0]['port']}"
    assert variables["FOREVIEW_API_SERVICE"] == where
    given = [one["name"] for one in next(containers(deployment))["env"]]
    assert given.index("POD_NAMESPACE") < given.index("FOREVIEW_API_SERVICE")


def test_the_load_balancer_reads_every_variable_it_is_given_and_no_other(manifests):
    given = set(environment(manifests, named(manifests, "Deployment", "foreview-haproxy")))
    given.remove("POD_NAMESPACE")  # only part of another's value
    read = set(re.findall(r"\b(FOREVIEW_[A-Z_]+\d?)\b", re.sub(r"(?m)^\s*#.*$", "", HAPROXY)))
    one_by_one = {"FOREVIEW_API_1", "FOREVIEW_API_2", "FOREVIEW_API_3"}
    assert given == read - one_by_one
    assert one_by_one < read


def test_the_load_balancer_s_pod_mounts_the_file_that_compose_and_drills_use(manifests):
    volume = pod_spec(named(manifests, "Deployment", "foreview-haproxy"))["volumes"][0]
    assert named(manifests, "ConfigMap", volume["configMap"]["name"])["data"] == {
        "haproxy.cfg": HAPROXY
    }
    command = next(containers(named(manifests, "Deployment", "foreview-haproxy")))["args"]
    assert command[-1] == "/etc/haproxy/haproxy.cfg"


def test_the_load_balancer_s_own_probes_are_answered(manifests):
    container = next(containers(named(manifests, "Deployment", "foreview-haproxy")))
    _, operations = HAPROXY.split("frontend operations")
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == "operations"
        assert container[probe]["httpGet"]["path"] in operations


def test_mlflow_is_given_variables_that_it_reads(manifests):
    import importlib.util

    package = Path(importlib.util.find_spec("mlflow").origin).parent
    source = "".join((package / name).read_text() for name in MLFLOW_VARIABLES)
    deployment = named(manifests, "Deployment", "foreview-mlflow")
    variables = environment(manifests, deployment)
    ours = {name for name in variables if name.startswith("MLFLOW_")}
    assert len(ours) >= 7
    assert {name for name in ours if f'"{name}"' not in source} == set()
    assert variables["MLFLOW_PORT"] == str(ports(deployment)["http"])
    tracking = api_environment(manifests)["FOREVIEW_MLFLOW_TRACKING_URI"]
    port = named(manifests, "Service", "foreview-mlflow")["spec"]["ports"][0]["port"]
    assert tracking == f"http://foreview-mlflow:{port}"
    assert f"foreview-mlflow:{port}" in variables["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")


def test_services_and_monitors_choose_something(manifests):
    for service in of_kind(manifests, "Service"):
        chosen = [
            w for w in workloads(manifests) if selects(service["spec"]["selector"], pod_labels(w))
        ]
        assert len(chosen) == 1, service["metadata"]["name"]
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in ports(chosen[0])
    for monitor in of_kind(manifests, "ServiceMonitor"):
        chosen = [
            service
            for service in of_kind(manifests, "Service")
            if selects(monitor["spec"]["selector"], service["metadata"]["labels"])
        ]
        served = [port["name"] for service in chosen for port in service["spec"]["ports"]]
        for endpoint in monitor["spec"]["endpoints"]:
            assert served.count(endpoint["port"]) == 1, "scraped twice, or never"


def test_routes_lead_to_the_load_balancer(manifests):
    services = {s["metadata"]["name"]: s for s in of_kind(manifests, "Service")}
    leads = 0
    for route in of_kind(manifests, "HTTPRoute"):
        gateway = named(manifests, "Gateway", route["spec"]["parentRefs"][0]["name"])
        hosts = {listener["hostname"] for listener in gateway["spec"]["listeners"]}
        assert set(route["spec"]["hostnames"]) <= hosts
        for rule in route["spec"]["rules"]:
            for backend in rule.get("backendRefs", []):
                ports_of = [p["port"] for p in services[backend["name"]]["spec"]["ports"]]
                assert backend["port"] in ports_of
                leads += 1
    assert leads == 1


def secret_keys(manifests: list[Manifest]) -> set[tuple[str, str]]:
    """Give (secret, key) pairs that will exist: by External Secrets, or made by CloudNativePG."""
    found = {(f"{c['metadata']['name']}-app", "uri") for c in of_kind(manifests, "Cluster")}
    for secret in of_kind(manifests, "ExternalSecret"):
        target = secret["spec"]["target"]
        names = {entry["secretKey"] for entry in secret["spec"]["data"]}
        names = set(target["template"]["data"]) if "template" in target else names
        found |= {(target["name"], name) for name in names}
    return found


def referenced_keys(node: object) -> set[tuple[str, str]]:
    """Give the (secret, key) pairs that a manifest reads, wherever it does."""
    if isinstance(node, list):
        return set().union(*map(referenced_keys, node)) if node else set()
    if not isinstance(node, dict):
        return set()
    found = {
        (value["name"], value["key"])
        for name, value in node.items()
        if name in ("secretKeyRef", "redisSecret", "accessKeyId", "secretAccessKey")
    }
    if "passwordSecret" in node:  # CloudNativePG reads both keys of a basic-auth secret
        found |= {(node["passwordSecret"]["name"], key) for key in ("username", "password")}
    return found.union(*(referenced_keys(value) for value in node.values()))


def airflow_values() -> Manifest:
    return yaml.safe_load((ROOT / "k8s/airflow/values.yaml").read_text())


# The keys that the Airflow chart reads of the secrets it is named.
AIRFLOW_CHART_KEYS = {
    "fernetKeySecretName": "fernet-key",
    "apiSecretKeySecretName": "api-secret-key",
    "jwtSecretName": "jwt-secret",
}


def airflow_keys() -> set[tuple[str, str]]:
    values = airflow_values()
    found = {(entry["secretName"], entry["secretKey"]) for entry in values["secret"]}
    found |= {(values[name], key) for name, key in AIRFLOW_CHART_KEYS.items()}
    return found | {(values["data"]["metadataSecretName"], "connection")}


def test_tasks_of_airflow_are_given_variables_that_the_code_reads():
    values = airflow_values()
    given = [entry["envName"] for entry in values["secret"]]
    given += [entry["name"] for entry in values["env"]]
    readme = (ROOT / "README.md").read_text()
    for name in given:
        if name.startswith(("FOREVIEW_", "YOUTUBE_")):
            assert f"`{name}`" in readme
    policy = named(overlay("production"), "NetworkPolicy", "foreview-jobs")
    assert selects(policy["spec"]["podSelector"], values["workers"]["labels"])


# Sections of the chart's values, and the label `component` of the pods that they are about.
AIRFLOW_COMPONENTS = {
    "scheduler": "scheduler",
    "dagProcessor": "dag-processor",
    "apiServer": "api-server",
    "migrateDatabaseJob": "run-airflow-migrations",
    "workers": "worker",
}


def airflow_pods() -> dict[str, dict[str, str]]:
    """Give the labels of Airflow's pods, by component, as the chart writes them."""
    values = airflow_values()
    return {
        component: {"tier": "airflow", "release": "airflow", "component": component}
        | values["labels"]
        | values.get(section, {}).get("labels", {})
        for section, component in AIRFLOW_COMPONENTS.items()
    }


def test_airflow_s_pods_reach_what_they_need_and_nothing_more(manifests):
    pods = airflow_pods()
    others = {
        "postgresql": {"cnpg.io/cluster": "foreview-postgresql"},
        "redis": {"app": "foreview-redis"},
        "mlflow": pod_labels(named(manifests, "Deployment", "foreview-mlflow")),
        "api": pod_labels(named(manifests, "Deployment", "foreview-api")),
    }
    everyone = pods | others
    ports = (5000, 5432, 6379, 8080, 8793, 8794)
    found = {
        (source, target, port)
        for source in pods
        for target in everyone
        for port in ports
        if reaches(manifests, pods[source], everyone[target], port)
    }
    job = {("postgresql", 5432), ("redis", 6379), ("mlflow", 5000), ("api-server", 8080)}
    assert found == {(name, "postgresql", 5432) for name in pods} | {("worker", *to) for to in job}
    strangers = {
        name for name in others if reaches(manifests, others[name], pods["api-server"], 8080)
    }
    assert strangers == set()


def test_airflow_s_pods_that_talk_to_the_cluster_reach_its_api_and_the_others_do_not(manifests):
    def reached(labels: dict[str, str]) -> set[int]:
        return {
            port["port"]
            for policy in of_kind(manifests, "NetworkPolicy")
            if selects(policy["spec"]["podSelector"], labels)
            for rule in policy["spec"].get("egress", [])
            if {"ipBlock": {"cidr": "0.0.0.0/0"}} in rule["to"]
            for port in rule["ports"]
        }

    asked = {name for name, labels in airflow_pods().items() if reached(labels)}
    assert asked == {"scheduler", "api-server"}
    assert all(reached(airflow_pods()[name]) == {443, 6443} for name in asked)


def test_whoever_tells_of_a_failed_task_reaches_alertmanager(manifests):
    """The task itself, or the DAG processor where the task's pod was killed."""
    (address,) = [
        entry["value"]
        for entry in airflow_values()["env"]
        if entry["name"] == "FOREVIEW_ALERTMANAGER_URL"
    ]
    port = httpx.URL(address).port
    namespace = {"namespaceSelector": {"matchLabels": {"foreview.io/monitoring": "true"}}}
    telling = {
        name
        for name, labels in airflow_pods().items()
        for policy in of_kind(manifests, "NetworkPolicy")
        if selects(policy["spec"]["podSelector"], labels)
        for rule in policy["spec"].get("egress", [])
        if namespace in rule["to"] and port in {allowed["port"] for allowed in rule["ports"]}
    }
    assert telling == {"worker", "dag-processor"}


def test_airflow_s_image_runs_the_commands_that_its_chart_gives():
    text = (ROOT / "dags/Dockerfile").read_text()
    airflow = text[text.index("FROM jobs AS airflow") :]
    values = airflow_values()
    user = values["securityContexts"]["pod"]
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}" in airflow
    assert f"AIRFLOW_HOME={values['airflowHome']} " in airflow
    # A directory that the runtime makes for a mount is root's: the image has it already.
    assert (
        f"--owner={user['runAsUser']} --group={user['runAsGroup']} {values['airflowHome']}"
        in airflow
    )
    # Probes call it by its name, containers are given `args` and no `command`.
    assert "COPY dags/entrypoint /entrypoint" in airflow
    assert 'ENTRYPOINT ["/entrypoint"]' in airflow
    command = ["bash", "-c", 'exec echo "$0" ran', "scheduler"]
    ran = subprocess.run([ROOT / "dags/entrypoint", *command], capture_output=True, text=True)
    assert ran.stdout == "scheduler ran\n"


def test_what_airflow_s_chart_starts_needs_no_script_or_provider_that_the_image_lacks():
    values = airflow_values()
    for section in ("scheduler", "dagProcessor"):
        assert values[section]["logGroomerSidecar"]["enabled"] is False
    assert values["createUserJob"]["enabled"] is False
    assert values["triggerer"]["enabled"] is False
    assert values["statsd"]["enabled"] is False


def test_pools_that_tasks_wait_for_are_made_with_airflow_s_tables():
    (pool,) = json.loads((ROOT / "dags/pools.json").read_text())
    assert f'QUOTA_POOL = "{pool}"' in (ROOT / "dags/foreview_dags/defaults.py").read_text()
    *_, script = airflow_values()["migrateDatabaseJob"]["args"]
    assert script == "airflow db migrate && exec airflow pools import /opt/dags/pools.json"
    assert "COPY dags /opt/dags" in (ROOT / "dags/Dockerfile").read_text()


def test_airflow_and_its_tasks_run_one_image_by_its_digest():
    values = airflow_values()
    # As the chart and the executor put them together.
    image = f"{values['defaultAirflowRepository']}:{values['defaultAirflowTag']}"
    assert re.fullmatch(r"ghcr\.io/foreview/foreview-airflow@sha256:[0-9a-f]{64}", image)
    assert "images" not in values
    version = re.search(r"^apache-airflow==(\S+)", LOCK.read_text(), re.MULTILINE)
    assert version is not None
    assert values["airflowVersion"] == version[1]


def test_every_secret_that_is_read_will_exist_and_none_is_left_unread(manifests):
    read = set().union(*(referenced_keys(m) for m in manifests)) | airflow_keys()
    assert read == secret_keys(manifests)


def test_secrets_name_services_that_exist(manifests):
    text = str(of_kind(manifests, "ExternalSecret"))
    redis = of_kind(manifests, "RedisReplication")[0]["metadata"]["name"]
    cluster = of_kind(manifests, "Cluster")[0]["metadata"]["name"]
    hosts = set(re.findall(r"@([a-z-]+):(\d+)", text))
    assert hosts == {(f"{redis}-master", "6379"), (f"{cluster}-rw", "5432")}


def test_the_api_asks_the_sentinels_that_there_are_for_the_master_that_they_watch(manifests):
    (sentinel,) = of_kind(manifests, "RedisSentinel")
    variables = api_environment(manifests)
    service = f"{sentinel['metadata']['name']}-sentinel"  # as its operator names it
    assert variables["FOREVIEW_REDIS_SENTINELS"] == f"{service}:26379"
    watched = sentinel["spec"]["redisSentinelConfig"]["masterGroupName"]
    assert variables["FOREVIEW_REDIS_SENTINEL_SERVICE"] == watched
    assert sentinel["spec"]["redisSentinelConfig"]["redisReplicationName"] in {
        redis["metadata"]["name"] for redis in of_kind(manifests, "RedisReplication")
    }
    policy = named(manifests, "NetworkPolicy", "foreview-api")
    allowed = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
    assert {6379, 26379} <= allowed


def rule_files() -> list[Path]:
    return sorted((ROOT / "observability/prometheus/rules").glob("*.yml"))


def test_alerts_on_kubernetes_are_those_of_observability():
    rules = {r["metadata"]["name"]: r for r in of_kind(overlay("production"), "PrometheusRule")}
    assert set(rules) == {f"foreview-{file.stem}" for file in rule_files()}
    for file in rule_files():
        groups = yaml.safe_load(file.read_text())["groups"]
        written = rules[f"foreview-{file.stem}"]["spec"]["groups"]
        assert written == groups, "run k8s/generate-rules"


def test_jobs_that_alerts_watch_are_scraped_by_that_name():
    manifests = overlay("production")
    text = "".join(file.read_text() for file in rule_files())
    watched = set(re.findall(r'\bjob="([a-z-]+)"', text))
    names = set()
    for monitor in of_kind(manifests, "ServiceMonitor"):
        for service in of_kind(manifests, "Service"):
            labels = service["metadata"]["labels"]
            if selects(monitor["spec"]["selector"], labels):
                names.add(labels.get(monitor["spec"]["jobLabel"]))
    assert watched <= names
    assert len(watched) >= 2


def test_the_jobs_metrics_are_served_by_a_command_and_port_that_exist(manifests):
    from observability.settings import ObservabilitySettings

    deployment = named(manifests, "Deployment", "foreview-metrics")
    variables = environment(manifests, deployment)
    known = {f"FOREVIEW_{name.upper()}" for name in ObservabilitySettings.model_fields}
    assert set(variables) <= known
    assert next(containers(deployment))["args"][0] in ENTRIES
    assert variables["FOREVIEW_METRICS_PORT"] == str(ports(deployment)["metrics"])
    assert ObservabilitySettings(_env_file=None).metrics_port == ports(deployment)["metrics"]


def test_the_autoscaler_s_metric_is_made_of_one_that_the_api_exposes():
    (autoscaler,) = of_kind(overlay("production"), "HorizontalPodAutoscaler")
    wanted = {m["pods"]["metric"]["name"] for m in autoscaler["spec"]["metrics"] if "pods" in m}
    adapter = ROOT / "k8s/components/autoscaling/prometheus-adapter.yaml"
    rules = yaml.safe_load(adapter.read_text())["rules"]["custom"]
    made = {rule["name"]["as"]: rule["seriesQuery"].split("{")[0] for rule in rules}
    assert set(made) == wanted
    exposed = {
        sample.name
        for family in ServingMetrics().registry.collect()
        for sample in (*family.samples, family)
    }
    for metric in made.values():
        assert metric.removesuffix("_total") in exposed or metric in exposed


def test_network_policies_let_each_workload_reach_what_it_is_told_to_reach(manifests):
    for workload in ("foreview-api", "foreview-mlflow"):
        policy = named(manifests, "NetworkPolicy", workload)
        allowed = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
        deployment = named(manifests, "Deployment", workload)
        told = " ".join(filter(None, environment(manifests, deployment).values()))
        told_ports = {int(port) for port in re.findall(r"http://[a-z-]+:(\d+)", told)}
        assert told_ports <= allowed
        assert 5432 in allowed
        incoming = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        assert incoming == set(ports(deployment).values())
