"""The way into InfluxDB 2.x, through influxdb-client: health, buckets, and writes of ready-made gzipped lines.

The client's services build the requests and read the answers; they go over the sink's own connection, with its
deadlines and checks, in place of the client's pool. Its batching and its points are not used: they drop data after some
retries, and are slow.
"""

import contextlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import influxdb_client
from influxdb_client.rest import ApiException

from collector.sinks.base import SinkRefused
from collector.sinks.influx_apis import LINES
from collector.sinks.influx_http import Http, Reply
from config.plant import Sink as SinkConfig

_NO_LINES = zlib.compress(b"# is the bucket there?\n", 1, 31)
_library: Any = influxdb_client  # it has no types


class _Pool:
    """Stands where the client has its connection pool."""

    def __init__(self, http: Http, host: str) -> None:
        self._http, self._host = http, host
        self._reply: Reply | None = None

    def request(
        self,
        method: str,
        url: str,
        *,
        fields: Sequence[tuple[str, str]] | None = None,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        **_: Any,
    ) -> Reply:
        """Send a request of the client, and return an answer that it can decode."""
        target = url.removeprefix(self._host) + ("?" + urlencode(fields) if fields else "")
        data = body.encode() if isinstance(body, str) else body or b""
        self._reply = reply = self._http.request(method, target, data, headers)
        return Reply(reply.status, reply.reason, reply.headers, reply.text.encode())

    def take(self) -> Reply:
        """Return the last answer, also of a request that the client then raises for; raises OSError without one."""
        reply, self._reply = self._reply, None
        if reply is None:
            raise OSError("influxdb-client sent no request")
        return reply

    def clear(self) -> None:
        """End the connection."""
        self._http.close()


class V2:
    """InfluxDB 2.x."""

    hint = "check the sink's token, and what it may do"

    def __init__(self, http: Http, config: SinkConfig) -> None:
        self._http, self._config = http, config
        self._client = _library.InfluxDBClient(config.url.rstrip("/"), config.token.get_secret_value(), org=config.org)
        self._pool = _Pool(http, config.url.rstrip("/"))
        self._client.api_client.rest_client.pool_manager = self._pool
        self._writes = _library.WriteService(self._client.api_client)

    def ready(self) -> None:
        """See that the server is well and has the bucket."""
        name, config = self._http.name, self._config
        health = self._asked(_library.HealthService(self._client.api_client).get_health)
        if health.status != 404:  # what stands before a server may hide it
            self._http.demand(health, self.hint)
        listing = self._asked(lambda: self._client.buckets_api().find_buckets(org=config.org, name=config.bucket))
        if listing.status == 404:
            words = self._http.words(listing)
            raise SinkRefused(f"{name}: organization {config.org}: {words}; check org, and the token's organization")
        self._http.demand(listing, self.hint)
        if self._lists(listing):
            return
        probe = self.write(_NO_LINES)
        if probe.status == 404:
            rule = f"organization {config.org} has no bucket {config.bucket}, or hides it from the token"
            raise SinkRefused(f"{name}: {rule}; create it: influx bucket create --name {config.bucket}")
        if probe.status in (401, 403):
            self._http.demand(probe, self.hint)

    def _lists(self, listing: Reply) -> bool:
        """Return whether the bucket is among those listed; a token that may only write sees none."""
        try:
            return any(one["name"] == self._config.bucket for one in listing.json["buckets"])
        except (TypeError, LookupError):
            words = self._http.clean(listing.text)
            raise SinkRefused(f"{self._http.name}: {words!r} is no list of buckets; check url and api") from None

    def write(self, body: bytes) -> Reply:
        """Send lines to /api/v2/write."""
        return self._asked(
            lambda: self._writes.post_write(
                self._config.org,
                self._config.bucket,
                body,
                precision="ns",
                content_type=LINES["Content-Type"],
                content_encoding=LINES["Content-Encoding"],
            )
        )

    def _asked(self, ask: Callable[[], object]) -> Reply:
        # What the client cannot make sense of is judged by the answer itself.
        with contextlib.suppress(ApiException, ValueError, TypeError, LookupError, AttributeError):
            ask()
        return self._pool.take()
