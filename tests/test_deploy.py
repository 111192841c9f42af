"""deploy/ for containers, Grafana and Kubernetes: checked statically, and its queries against the real influxd."""

import ast
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import polars as pl
import pytest
import yaml

from collector.commands import faults_of
from collector.sinks import line_protocol
from collector.sinks.base import KINDS
from config.load import load_plant
from config.plant import host_and_port
from config.schema import SAMPLE
from config.status import NAMES
from tests.influx_peers import influxd

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
BOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
MINUTE = 60_000_000_000
TAGS, FIELDS = {"plant", "asset", "point"}, {"value", "text", "status", "special"}
SPAN_MS = 3_600_000
NOW_MS = 1_772_448_000_000  # 2026-03-02 10:40 UTC: a query that groups by the hour finds counts in two of them
CHOSEN = {
    "plant:regex": "jn1",
    "asset:regex": "(line1\\/press1|line1\\/press2)",
    "states:raw": "state$",
    "totals:raw": "total$",
    "goods:raw": "good$",
    "producing:raw": "1",
    "cycle:raw": "30",
    "meters:raw": "energy",
    "power:raw": "power",
    "kwh:raw": "0.5",
}


def panels(board):
    return json.loads(board.read_text("utf-8"))["panels"]


def targets():
    return [
        pytest.param(target, id=f"{board.stem}-{panel['id']}{target['refId']}")
        for board in BOARDS
        for panel in panels(board)
        for target in panel["targets"]
    ]


def asked(query, now):
    """A query as Grafana sends it: for the last hour, with its macros and the variables replaced."""
    words = CHOSEN | {"__from": str(now - SPAN_MS), "__to": str(now)}
    text = re.sub(r"\$\{([^}]+)\}", lambda found: words[found[1]], query)
    text = text.replace("$timeFilter", f"time >= {now - SPAN_MS}ms and time <= {now}ms").replace("$__interval", "1m")
    assert not re.search(r"\$[\w{]", text)
    return text.replace("now()", f"{now}ms")


def hour(now):
    """The last hour of two presses: each minute a piece and 2 counts of energy; an outage of press 2.

    Every fourth piece is bad. Press 1 produces for the first half, then it stops; press 2 says its state in words.
    """
    begin = (now - SPAN_MS) * 1_000_000 + MINUTE // 2
    for minute in range(60):
        at, state = begin + minute * MINUTE, 1.0 if minute < 30 else 3.0
        values = {"state": state, "total": float(minute), "good": float(minute * 3 // 4), "energy": 2.0 * minute}
        for kind, value in {**values, "power": 7.5}.items():
            yield f"press1.{kind}", at, value, None, 0
        if not 20 <= minute < 40:
            yield "press2.state", at, None, "Execute", 0
            yield "press2.total", at, float(minute), None, 0
    lost = begin + 20 * MINUTE
    yield "press2.total", lost, None, None, NAMES["BadNoCommunication"]
    yield "press2.state", lost, None, None, NAMES["BadDataLost"]
    yield "press1.power", begin + 3 * MINUTE + 1, float("inf"), None, 0


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The real influxd with an hour that was written as the sink writes it, and the time at which it ended [ms]."""
    with influxd(tmp_path_factory.mktemp("influx")) as server:
        rows = [
            (p, at, at, value, text, status) for p, at, value, text, status in sorted(hour(NOW_MS), key=lambda r: r[1])
        ]
        frame = pl.DataFrame(rows, schema=list(SAMPLE), orient="row").cast(dict(SAMPLE))
        series = line_protocol.Series("jn1", {p: f"line1/{p.split('.')[0]}" for p in frame["point"].unique()})
        order, tells = line_protocol.choose(frame, series)
        lines = line_protocol.encode(frame[order], tells, series)["line"].str.join("\n")[0]
        server.query("CREATE DATABASE plant")
        server.write(lines.encode(), "plant")
        yield server, NOW_MS


def answer(store, board, title, ref="A"):
    """What a panel shows: {tags: last value}."""
    server, now = store
    (panel,) = (p for p in panels(DEPLOY / "grafana" / "dashboards" / f"{board}.json") if title in p["title"])
    (query,) = (t["query"] for t in panel["targets"] if t["refId"] == ref)
    series = server.query(asked(query, now), "plant")
    return {" ".join(s.get("tags", {}).values()): s["values"] for s in series}


def test_the_names_that_queries_may_use_are_those_that_the_sink_writes():
    told = (ROOT / "docs" / "sinks.md").read_text("utf-8")
    table = told.partition("### How samples lie in it")[2].partition("\n* ")[0]
    named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert named == TAGS | FIELDS
    assert line_protocol.MEASUREMENT == "samples"


@pytest.mark.parametrize("target", targets())
def test_a_query_names_only_the_measurement_tags_and_fields_that_exist(target):
    query = target["query"]
    assert set(re.findall(r'FROM "(\w+)"', query)) == {line_protocol.MEASUREMENT}
    own = set(re.findall(r'AS "(\w+)"', query))
    assert set(re.findall(r'"(\w+)"', query)) - own <= TAGS | FIELDS | {line_protocol.MEASUREMENT}
    assert (
        set(re.findall(r"\$tag_(\w+)", target.get("alias", ""))) <= set(re.findall(r'GROUP BY .*"(\w+)"', query)) | TAGS
    )
    codes = {int(number) for number in re.findall(r'"status" = (\d+)', query)}
    assert codes <= set(NAMES.values())


@pytest.mark.parametrize("target", targets())
def test_a_query_runs_against_influxdb_and_finds_the_hour(store, target):
    server, now = store
    found = server.query(asked(target["query"], now), "plant")
    quiet = target.get("alias") in ("BadCommunicationError", "BadTimeout", "BadShutdown")  # the hour has none
    assert quiet or any(cell not in (None, 0) for series in found for row in series["values"] for cell in row[1:])


def test_the_estimate_of_oee_is_good_pieces_times_the_cycle_over_the_time_range(store):
    (row,) = answer(store, "oee", "OEE, estimated")["line1/press1"]
    assert row[1] == pytest.approx(44 * 30 / 3600)  # 44 good pieces, a cycle of 30 s, an hour
    (most,) = answer(store, "oee", "no piece were bad")["line1/press1"]
    assert most[1] == pytest.approx(59 * 30 / 3600)


def test_production_and_known_time_stand_side_by_side(store):
    production, known = (answer(store, "oee", "Share of known time", ref)["line1/press1"] for ref in "AB")
    assert 0.45 <= production[0][1] <= 0.55
    assert 0.95 <= known[0][1] <= 1.05


def test_energy_is_the_meters_increments_times_what_a_count_is_worth(store):
    assert answer(store, "energy", "in the time range")["press1.energy"][0][1] == 59 * 2 * 0.5


def test_a_point_whose_link_was_lost_has_a_value_for_less_of_the_time(store):
    share = {point: values[0][1] for point, values in answer(store, "connectivity", "Share of time").items()}
    assert share["press1.total"] > 0.95
    assert 0.6 < share["press2.total"] < 0.75


def test_the_last_status_that_is_not_good_is_named(store):
    last = answer(store, "connectivity", "not good")
    codes = {point.split()[-1]: values[0][1] for point, values in last.items()}
    assert codes == {"press2.state": NAMES["BadDataLost"], "press2.total": NAMES["BadNoCommunication"]}


@pytest.mark.parametrize("board", BOARDS, ids=lambda b: b.stem)
def test_each_panel_has_a_title_a_unit_and_words_and_no_threshold_without_a_source(board):
    held = json.loads(board.read_text("utf-8"))
    ids = [panel["id"] for panel in held["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in held["panels"]:
        if panel["type"] == "text":
            continue
        assert panel["title"], panel["id"]
        assert panel["description"], panel["title"]
        assert panel["datasource"]["uid"] == "plantproof"
        defaults = panel["fieldConfig"]["defaults"]
        assert "unit" in defaults or "mappings" in defaults, panel["title"]
        assert "thresholds" not in defaults or "docs/" in panel["description"], panel["title"]
        if panel["type"] == "timeseries":
            assert panel["options"]["legend"]["showLegend"], panel["title"]


@pytest.mark.parametrize("board", BOARDS, ids=lambda b: b.stem)
def test_panels_do_not_overlap(board):
    taken = [
        (x, y)
        for grid in (panel["gridPos"] for panel in panels(board))
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24


@pytest.mark.parametrize("board", BOARDS, ids=lambda b: b.stem)
def test_a_board_uses_its_own_variables_and_no_others(board):
    held = json.loads(board.read_text("utf-8"))
    defined = {variable["name"] for variable in held["templating"]["list"]}
    queries = json.dumps([held["panels"], held["templating"]], ensure_ascii=False)
    assert set(re.findall(r"\$\{(\w+)", queries)) - {"__from", "__to"} == defined


def test_the_numbers_of_states_and_statuses_have_the_names_of_the_configuration():
    oee, connectivity = (panels(DEPLOY / "grafana" / "dashboards" / f"{name}.json") for name in ("oee", "connectivity"))
    (states,) = (p["fieldConfig"]["defaults"]["mappings"] for p in oee if p["type"] == "state-timeline")
    built_in = tomllib.loads((ROOT / "config" / "states" / "builtin.toml").read_text("utf-8"))["default"]["map"]
    shown = {number: option["text"].split()[-1] for number, option in states[0]["options"].items()}
    assert shown == built_in
    (codes,) = (o for p in connectivity for o in p["fieldConfig"]["overrides"] if o["matcher"]["options"] == "status")
    named = {option["text"]: int(code) for code, option in codes["properties"][0]["value"][0]["options"].items()}
    assert named == NAMES


def test_grafanas_data_source_and_folder_are_those_that_the_compose_file_mounts():
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "plantproof.yaml").read_text("utf-8"))["datasources"]
    assert (source["uid"], source["type"], source["jsonData"]["version"]) == ("plantproof", "influxdb", "InfluxQL")
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "plantproof.yaml").read_text("utf-8"))["providers"]
    mounted = {volume.split(":")[1] for volume in compose()["services"]["grafana"]["volumes"]}
    assert {provider["options"]["path"], "/etc/grafana/provisioning"} <= mounted
    sink = tomllib.loads((DEPLOY / "container" / "plant" / "plant.toml").read_text("utf-8"))["sink"][1]
    assert (source["jsonData"]["dbName"], source["url"]) == (sink["bucket"], sink["url"])


def compose():
    return yaml.safe_load((DEPLOY / "container" / "compose.yaml").read_text("utf-8"))


@pytest.mark.parametrize("name", ["agent", "mosquitto", "influxdb", "grafana"])
def test_a_service_is_confined_bounded_and_watched(name):
    service = compose()["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"].split(":")[0].isdigit()
    assert service["user"].split(":")[0] != "0"
    assert {"mem_limit", "cpus", "pids_limit"} <= service.keys()
    assert service["healthcheck"]["test"]
    assert service["logging"]["options"]["max-size"]
    if "image" in service and name != "agent":
        assert re.search(r":\d+\.\d+\.\d+$", service["image"])


def test_no_port_is_open_beyond_the_loopback():
    ports = [port for service in compose()["services"].values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert all("network_mode" not in service for service in compose()["services"].values())


def test_secrets_are_files_and_no_variable_holds_one():
    held = compose()
    assert all(set(secret) == {"file"} for secret in held["secrets"].values())
    used = {name for service in held["services"].values() for name in service.get("secrets", ())}
    assert used == held["secrets"].keys()
    for service in held["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN|SECRET", name):
                assert name.endswith("_FILE"), name
                assert str(value).startswith("/run/secrets/"), name


def test_what_the_compose_file_mounts_is_there():
    folder = DEPLOY / "container"
    named = set(compose()["volumes"])
    for service in compose()["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in named or (folder / source).exists(), volume
            assert source in named or volume.endswith(":ro"), volume


def test_every_variable_of_the_compose_file_has_its_line_in_the_example():
    text = (DEPLOY / "container" / "compose.yaml").read_text("utf-8")
    example = (DEPLOY / "container" / "env.example").read_text("utf-8")
    told = set(re.findall(r"^#?\s?([A-Z_]+)=", example, re.MULTILINE))
    assert set(re.findall(r"\$\{([A-Z_]+)", text)) == told


@pytest.mark.parametrize("place", ["container/plant", "kubernetes/plant"])
def test_the_sample_plants_are_without_fault_and_write_only_where_a_volume_is(place):
    plant = load_plant(DEPLOY / place)
    assert faults_of(plant) == []
    assert {sink.kind for sink in plant.sinks} <= set(KINDS)
    for path in (plant.spool.path, *(sink.path for sink in plant.sinks if sink.kind == "parquet")):
        assert str(path).startswith("/var/lib/plantproof/")


def dockerfile():
    """The instructions of the Dockerfile as (word, rest), lines joined."""
    text = (DEPLOY / "container" / "Dockerfile").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def test_the_image_runs_as_nobody_special_and_is_watched():
    held = dockerfile()
    last = dict(held[max(n for n, (word, _) in enumerate(held) if word == "FROM") :])
    assert last["USER"] == "10001:10001"
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert "plantproof status" in last["HEALTHCHECK"]
    assert json.loads(last["ENTRYPOINT"])[0].endswith("/plantproof")
    assert "PYTHONSAFEPATH=1" in last["ENV"]
    assert "/var/lib/plantproof" in last["VOLUME"]
    assert "org.opencontainers.image" in last["LABEL"]


def test_the_image_stands_on_one_version_of_its_base_and_installs_by_hash():
    held = dockerfile()
    bases = [rest for word, rest in held if word == "FROM"]
    assert len(bases) == 2
    assert all(re.match(r"python:\d+\.\d+\.\d+-slim-\w+ AS \w+$", base) for base in bases)
    runs = " ".join(rest for word, rest in held if word == "RUN")
    installs = re.findall(r"pip install ([^&]+)", runs)
    assert installs
    assert all("--require-hashes" in one or "--no-index" in one for one in installs)
    assert not re.search(r"https?://|trusted-host|apt-get|curl|wget", runs)


def test_no_secret_and_no_tree_beyond_what_is_installed_goes_into_the_build():
    lines = (DEPLOY / "container" / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule[1:].strip("/") for rule in rules if rule.startswith("!")}
    copied = {
        part for word, rest in dockerfile() if word == "COPY" and "--from" not in rest for part in rest.split()[:-1]
    }
    assert {part.strip("/") for part in copied} == allowed
    assert all((ROOT / part).exists() for part in allowed)
    assert not any(word in ("ARG", "ENV") and re.search("PASSWORD|TOKEN|SECRET", rest) for word, rest in dockerfile())


def test_the_image_takes_no_extra_unless_asked():
    assert [rest for word, rest in dockerfile() if word == "ARG"] == ['EXTRAS=""']


def test_the_brokers_settings_let_nobody_in_without_a_password():
    text = (DEPLOY / "container" / "mosquitto.conf").read_text("utf-8")
    settings = dict(line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#"))
    assert settings["allow_anonymous"] == "false"
    assert settings["password_file"].startswith("/run/secrets/")


def manifests():
    """Every object of deploy/kubernetes by (kind, name)."""
    found = {}
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        if path.name != "kustomization.yaml":
            for one in yaml.safe_load_all(path.read_text("utf-8")):
                found[one["kind"], one["metadata"]["name"]] = one
    return found


def pod():
    return manifests()["StatefulSet", "plantproof"]["spec"]["template"]["spec"]


def test_the_kustomization_names_every_manifest_and_file():
    held = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text("utf-8"))
    written = {path.name for path in (DEPLOY / "kubernetes").glob("*.yaml")}
    assert set(held["resources"]) == written - {"kustomization.yaml", "secret.example.yaml"}
    for generator in held["configMapGenerator"]:
        assert all((DEPLOY / "kubernetes" / file.rpartition("=")[2]).is_file() for file in generator["files"])


def test_a_pod_meets_the_restricted_pod_security_standard():
    # https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    (container,) = pod()["containers"]
    outer, inner = pod()["securityContext"], container["securityContext"]
    assert outer["runAsNonRoot"] is True
    assert outer["runAsUser"] == outer["fsGroup"] == 10001
    assert outer["seccompProfile"] == {"type": "RuntimeDefault"}
    assert inner["allowPrivilegeEscalation"] is False
    assert inner["capabilities"] == {"drop": ["ALL"]}
    assert inner["readOnlyRootFilesystem"] is True
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod().keys()
    assert all("hostPath" not in volume for volume in pod()["volumes"])
    labels = manifests()["Namespace", "plantproof"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert pod()["automountServiceAccountToken"] is False


def test_the_spool_outlives_the_pod_and_two_agents_never_share_it():
    spec = manifests()["StatefulSet", "plantproof"]["spec"]
    (claim,) = spec["volumeClaimTemplates"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod()["containers"][0]["volumeMounts"]}
    assert mounts[claim["metadata"]["name"]] == "/var/lib/plantproof"
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert spec["replicas"] == 1
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert pod()["terminationGracePeriodSeconds"] > 30  # sinks drain for 30 s at most


def test_a_plc_that_is_away_does_not_restart_the_agent_nor_hold_up_a_rollout():
    (container,) = pod()["containers"]
    alive = container["livenessProbe"]["httpGet"]
    assert alive == container["startupProbe"]["httpGet"] == {"path": "/livez", "port": "health"}
    assert "readinessProbe" not in container
    assert {"requests", "limits"} == container["resources"].keys()


def test_probes_scrapes_and_the_network_policy_go_to_the_port_at_which_the_sample_plant_answers():
    health = load_plant(DEPLOY / "kubernetes" / "plant").health
    host, port = host_and_port(health.listen)
    assert (host, health.beyond_loopback) == ("0.0.0.0", True)
    assert pod()["containers"][0]["ports"] == [{"name": "health", "containerPort": port}]
    notes = manifests()["StatefulSet", "plantproof"]["spec"]["template"]["metadata"]["annotations"]
    assert notes == {"prometheus.io/scrape": "true", "prometheus.io/port": str(port), "prometheus.io/path": "/metrics"}
    (rule,) = manifests()["NetworkPolicy", "plantproof"]["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": port}]


def test_in_compose_the_agent_listens_nowhere():
    assert load_plant(DEPLOY / "container" / "plant").health is None


def test_made_secrets_are_long_differ_and_stay_as_they_are(tmp_path):
    script = shutil.copy(DEPLOY / "container" / "make-secrets.sh", tmp_path)
    subprocess.run(["sh", script], check=True)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert {f"secrets/{name}" for name in made} == {secret["file"] for secret in compose()["secrets"].values()}
    random = [text for text in made.values() if text]
    assert len(set(random)) == len(random) == 4
    assert all(re.fullmatch("[0-9a-f]{48}", text) for text in random)
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    (tmp_path / "secrets" / "influx-agent").chmod(0o600)
    (tmp_path / "secrets" / "influx-agent").write_text("made by InfluxDB")
    subprocess.run(["sh", script], check=True)
    again = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert again == made | {"influx-agent": "made by InfluxDB"}


def test_the_network_policy_lets_prometheus_in_alone_and_out_only_to_named_ports():
    spec = manifests()["NetworkPolicy", "plantproof"]["spec"]
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
    (rule,) = spec["ingress"]
    assert [set(peer) for peer in rule["from"]] == [{"namespaceSelector"}]
    assert all(rule["to"] and rule["ports"] for rule in spec["egress"])
    assert not any(peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0" for rule in spec["egress"] for peer in rule["to"])
    assert spec["podSelector"]["matchLabels"].items() <= (
        manifests()["StatefulSet", "plantproof"]["spec"]["template"]["metadata"]["labels"].items()
    )


def test_kustomize_puts_the_manifests_together():
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    made = subprocess.run(["kubectl", "kustomize", DEPLOY / "kubernetes"], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    kinds = [one["kind"] for one in yaml.safe_load_all(made.stdout)]
    assert sorted(kinds) == ["ConfigMap", "Namespace", "NetworkPolicy", "Service", "StatefulSet"]


def test_each_manifest_fits_the_schema_of_kubernetes():
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate has the schemas; not installed")
    for one in manifests().values():
        validate.validate(one, "1.29", strict=True)


def test_the_names_of_the_deployment_agree_with_each_other():
    assert pod()["containers"][0]["image"].split(":")[0] == compose()["services"]["agent"]["image"].split(":")[0]
    assert ast.literal_eval(dict(dockerfile())["CMD"]) == ["run", "/etc/plantproof", "--json"]
