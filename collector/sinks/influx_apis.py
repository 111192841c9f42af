"""The ways into InfluxDB 1.x and 3 Core over HTTP: readiness, and writes of gzipped line protocol."""

import base64
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlencode

from collector.sinks.base import SinkRefused
from collector.sinks.influx_http import Http, Reply
from config.plant import Sink as SinkConfig

LINES: Mapping[str, str] = {"Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip"}


class Api(Protocol):
    """One of InfluxDB's interfaces."""

    hint: str
    """The next step where access is denied."""

    def ready(self) -> None:
        """See that the server answers and has a place for samples; raises OSError and SinkRefused."""

    def write(self, body: bytes) -> Reply:
        """Send gzipped lines with times in ns, and return the answer whatever it is; raises OSError."""


def headers(config: SinkConfig) -> Mapping[str, str]:
    """Return the headers that tell who we are."""
    if config.api == "v1":
        pair = f"{config.user}:{config.password.get_secret_value()}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"} if config.user else {}
    token = config.token.get_secret_value()
    return {"Authorization": f"Bearer {token}"} if token and config.api == "v3" else {}


class V1:
    """InfluxDB 1.x."""

    hint = "check the sink's user and password, and what the user may do"

    def __init__(self, http: Http, config: SinkConfig) -> None:
        self._http, self._config = http, config
        names = {"db": config.database, "rp": config.retention_policy, "precision": "ns"}
        self._target = "/write?" + urlencode({key: value for key, value in names.items() if value})

    def ready(self) -> None:
        """See that the database stands, or make it; and that its retention policy does."""
        database, policy = self._config.database, self._config.retention_policy
        if database not in self._names("SHOW DATABASES"):
            self._names(f"CREATE DATABASE {_quoted(database)}")
        if policy and policy not in self._names(f"SHOW RETENTION POLICIES ON {_quoted(database)}"):
            rule = f"database {database} has no retention policy {policy}"
            raise SinkRefused(f"{self._http.name}: {rule}; create it, or leave retention_policy empty")

    def _names(self, query: str) -> set[str]:
        """Run InfluxQL, and return the first column of its rows."""
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        reply = self._http.request("POST", "/query", urlencode({"q": query}).encode(), form)
        self._http.demand(reply, self.hint)
        body: Any = reply.json
        try:
            result = body["results"][0]
            if "error" in result:
                raise SinkRefused(f"{self._http.name}: {self._http.clean(str(result['error']))}; {self.hint}")
            return {str(row[0]) for series in result.get("series", ()) for row in series.get("values", ())}
        except (TypeError, LookupError, AttributeError):
            words = self._http.clean(reply.text)
            raise SinkRefused(f"{self._http.name}: {words!r} is no answer of InfluxDB 1; check url and api") from None

    def write(self, body: bytes) -> Reply:
        """Send lines to /write."""
        return self._http.request("POST", self._target, body, LINES)


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


class V3:
    """InfluxDB 3 Core; the first write makes the database."""

    hint = "check the sink's token, and what it may do"

    def __init__(self, http: Http, config: SinkConfig) -> None:
        self._http = http
        self._target = "/api/v3/write_lp?" + urlencode({"db": config.database, "precision": "nanosecond"})

    def ready(self) -> None:
        """See that the server answers, and lets us in."""
        self._http.demand(self._http.request("GET", "/health"), self.hint)

    def write(self, body: bytes) -> Reply:
        """Send lines to /api/v3/write_lp."""
        return self._http.request("POST", self._target, body, LINES)
