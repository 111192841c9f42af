"""OPC UA security: what the settings may say, the channel pinned to one checked certificate, and the user's token.

The order is the point: nothing but GetEndpoints goes to a server before its certificate has passed every rule, and no
user goes before CreateSession has shown that very certificate and the endpoints that were chosen from.
"""

import asyncio
import contextlib
import difflib
import logging
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asyncua import ua
from asyncua.client.client import Client
from asyncua.crypto import security_policies as library
from asyncua.ua.uaerrors import UaError, UaStatusCodeError
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from config.plant import Source
from connectors.base import SourceLost, SourceRefused
from connectors.opcua import certificates
from connectors.opcua.certificates import Pair

# Our own messages say what matters; and at level DEBUG the library logs whole requests, a password among them.
for _name in ("asyncua", "asyncua.client.ua_client.UASocketProtocol"):
    logging.getLogger(_name).setLevel(logging.ERROR)

NONCE = 32
"""The shortest nonce of a session that a signature or a password may rest on [B]."""

POLICIES: dict[str, type[library.SecurityPolicy]] = {
    "Basic256Sha256": library.SecurityPolicyBasic256Sha256,
    "Aes128_Sha256_RsaOaep": library.SecurityPolicyAes128Sha256RsaOaep,
    "Aes256_Sha256_RsaPss": library.SecurityPolicyAes256Sha256RsaPss,
}
MODES = {"Sign": ua.MessageSecurityMode.Sign, "SignAndEncrypt": ua.MessageSecurityMode.SignAndEncrypt}
_BROKEN = ("Basic256", "Basic128Rsa15")
_CHOICES = ("None", *(f"{policy}/{mode}" for policy in POLICIES for mode in MODES))
_STRONG = tuple(policy.URI for policy in POLICIES.values())
_NO_POLICY = library.SecurityPolicyNone.URI


@dataclass(frozen=True, slots=True)
class Secured:
    """What `secure` has settled and `activate` holds the server to."""

    warnings: tuple[str, ...] = ()
    """What a person should know in time: certificates that end soon, revocation lists out of date."""
    endpoint: ua.EndpointDescription | None = None
    """The endpoint that was chosen; None with security "None"."""
    certificate: bytes = b""
    """The server's certificate that passed [DER]."""
    user: Pair | None = field(default=None, repr=False)
    """The certificate user."""
    own: Pair | None = field(default=None, repr=False)
    """The own application certificate."""


# --- settings ---


def fault(source: Source) -> str | None:
    """Return what is wrong with the source's security, user or certificates, or None; touches no file."""
    return _security_fault(source.security) or _pair_fault(source) or _user_fault(source)


def _security_fault(security: str) -> str | None:
    if security in _CHOICES:
        return None
    if not security:
        return (
            'security is not set: write "Basic256Sha256/SignAndEncrypt", or "None" where the network is trusted '
            "and nobody logs in"
        )
    policy, _, mode = security.partition("/")
    if policy in _BROKEN:
        return f"security {security!r}: the policy {policy} is broken (SHA-1); let the server offer {_CHOICES[2]}"
    if policy in POLICIES:
        return f'security {security!r}: no mode "{mode}"; write "{policy}/SignAndEncrypt" or "{policy}/Sign"'
    lowered = {choice.lower(): choice for choice in _CHOICES}
    near = difflib.get_close_matches(security.lower(), lowered, 1, 0.7)
    hint = f"did you mean {lowered[near[0]]!r}?" if near else f"write one of {', '.join(_CHOICES)}"
    return f"security {security!r} is unknown; {hint}"


def _pair_fault(source: Source) -> str | None:
    pairs = (("certificate", "private_key"), ("user_certificate", "user_key"))
    for one, other in (*pairs, *((key, certificate) for certificate, key in pairs)):
        if getattr(source, one) is not None and getattr(source, other) is None:
            return f"{one} {str(getattr(source, one))!r} without {other}: the two belong together; write {other} too"
    return None


def _user_fault(source: Source) -> str | None:
    if "@" in source.url:
        return 'url: it holds a user or password ("@"), which logs would show; write user and password instead'
    if not source.user and source.password.get_secret_value():
        return "password without user: nobody to log in as; write user too"
    if not source.user.strip() and "user" in source.model_fields_set:
        return f"user {source.user!r} is empty: write the name, or leave the line out to read anonymously"
    if source.user and source.user_certificate is not None:
        return f"user {source.user!r} and user_certificate: a session has one user; leave one of them out"
    if source.security == "None" and (source.user or source.user_certificate is not None):
        who = repr(source.user) if source.user else f"of {str(source.user_certificate)!r}"
        return (
            f'user {who} with security "None": the password would be readable on the wire and the server unproven; '
            'write security = "Basic256Sha256/SignAndEncrypt", or leave the user out'
        )
    return None


# --- before the connection ---


async def secure(client: Client, source: Source) -> Secured:
    """Check the server's certificate and set the client's security to it; for "None" sets the names alone.

    Raises SourceRefused for what a person must mend, SourceLost where the network fails.
    """
    if (wrong := fault(source)) is not None:
        raise SourceRefused(wrong)
    client.name = client.description = "PlantProof"
    client.product_uri = "urn:plantproof"
    client.application_uri = certificates.application_uri()
    if source.security == "None":
        return Secured()
    policy, mode = _wanted(source.security)
    # Key making and file reading may take seconds on a small gateway; the other sources go on meanwhile.
    own, user = await asyncio.to_thread(_load, source)
    client.application_uri = certificates.own_uris(own.certificate)[0]
    endpoint = await _endpoint(client, source, policy.URI, mode)
    warnings = await asyncio.to_thread(_check, client, source, endpoint, own, user)
    server = certificates.split_chain(endpoint.ServerCertificate or b"")[0]
    pinned = policy(server, own.certificate, own.key, mode)
    # The library declares the type of its default alone.
    client.security_policy = pinned  # type: ignore[assignment]
    client.uaclient.set_security(pinned)
    return Secured(tuple(warnings), endpoint, server.public_bytes(Encoding.DER), user, own)


async def again(client: Client, source: Source, secured: Secured) -> tuple[str, ...]:
    """Hold a connection that stands to the same rules: certificates end, and are revoked, while it lives.

    Returns the warnings of now; raises SourceRefused.
    """
    if secured.endpoint is None or secured.own is None:
        return secured.warnings
    return tuple(await asyncio.to_thread(_check, client, source, secured.endpoint, secured.own, secured.user))


def _wanted(security: str) -> tuple[type[library.SecurityPolicy], ua.MessageSecurityMode]:
    policy, _, mode = security.partition("/")
    return POLICIES[policy], MODES[mode]


def _load(source: Source) -> tuple[Pair, Pair | None]:
    now = certificates.utc_now()
    own = certificates.own_pair(source, now)
    if source.user_certificate is None or source.user_key is None:
        return own, None
    return own, certificates.user_pair(source.user_certificate, source.user_key, now)


def _check(client: Client, source: Source, endpoint: ua.EndpointDescription, own: Pair, user: Pair | None) -> list[str]:
    """Check the offered certificate by every rule; returns the warnings of all certificates."""
    now = certificates.utc_now()
    warnings = certificates.check_server(
        endpoint.ServerCertificate or b"",
        source.pki,
        endpoint.Server.ApplicationUri or "",
        client.server_url.hostname or "",
        now,
    )
    warnings += certificates.expiry(f"the own certificate {own.path}", own.certificate, now)
    if user is not None:
        warnings += certificates.expiry(f"the user's certificate {user.path}", user.certificate, now)
    return warnings


async def _endpoint(
    client: Client, source: Source, policy: str, mode: ua.MessageSecurityMode
) -> ua.EndpointDescription:
    url = client.server_url.geturl()
    offered = await _endpoints(client, source)
    binary = [e for e in offered if (e.EndpointUrl or "").startswith("opc.tcp:")]
    for endpoint in binary:
        if endpoint.SecurityMode == mode and endpoint.SecurityPolicyUri == policy:
            return endpoint
    raise SourceRefused(
        f"security {source.security!r}: {url} does not offer it, but {_offers(binary)}; write one of these, or enable "
        "it in the server"
    )


async def _endpoints(client: Client, source: Source) -> list[ua.EndpointDescription]:
    """Ask for the endpoints over a channel without security, which is let go of at once."""
    url, lifetime = client.server_url.geturl(), client.secure_channel_timeout
    try:
        with refusals(source):
            await client.connect_socket()
            return await _discover(client)
    except TimeoutError as error:
        raise SourceLost(f"endpoints of {url}: no answer in time") from error
    except (OSError, UaError, ValueError, LookupError, struct.error) as error:
        raise SourceLost(f"endpoints of {url}: {error}") from error
    finally:
        # The server revised the lifetime of that channel, not of the next.
        client.secure_channel_timeout = lifetime


async def _discover(client: Client) -> list[ua.EndpointDescription]:
    protocol = client.uaclient.protocol
    if protocol is None:
        raise ConnectionError("the connection is gone")
    # The end of this socket may be noticed late, and must not count as the end of the next.
    protocol.on_connection_lost = None
    transport = protocol.transport
    try:
        await client.send_hello()
        await client.open_secure_channel()
        found = await client.get_endpoints()
        await client.close_secure_channel()
        return found or []
    finally:
        client.disconnect_socket()
        if transport is not None:
            transport.abort()


def _offers(endpoints: Sequence[ua.EndpointDescription]) -> str:
    """Name what is offered; what a server calls otherwise is quoted."""
    names = {_NO_POLICY: "None"}
    for endpoint in endpoints:
        uri, mode = endpoint.SecurityPolicyUri or "", endpoint.SecurityMode
        if uri != _NO_POLICY:
            names[f"{uri}/{mode}"] = f"{_policy_name(uri)}/{mode.name.rstrip('_')}"
    found = sorted({names.get(f"{e.SecurityPolicyUri}/{e.SecurityMode}", "None") for e in endpoints})
    return ", ".join(found[:12]) or "nothing"


def _policy_name(uri: str) -> str:
    name = uri.rpartition("#")[2][:60]
    return name if name.isascii() and name.replace("_", "").isalnum() else repr(name)


# --- the session ---


async def activate(client: Client, source: Source, secured: Secured, created: ua.CreateSessionResult) -> None:
    """Log in with the configured user over a session that `client.create_session()` made.

    Refuses before anything is sent where the server differs from what `secure` chose, does not admit such a user, or
    would get a password in clear. Raises SourceRefused; network faults pass as the library raises them.
    """
    if secured.endpoint is not None:
        _check_unchanged(secured.endpoint, secured.certificate, created)
        tokens = secured.endpoint.UserIdentityTokens
    else:
        tokens = client._policy_ids
    # The library takes the first token of the kind, whatever its policy: let there be one alone.
    client._policy_ids = _token(source, tokens or [], client.security_policy)
    with refusals(source):
        if source.user:
            await _log_in(client, source.user, source.password.get_secret_value())
        elif secured.user is not None:
            client.user_private_key = secured.user.key
            await client.activate_session(certificate=secured.user.certificate)
        else:
            await client.activate_session()


async def _log_in(client: Client, user: str, password: str) -> None:
    try:
        await client.activate_session(username=user, password=password)
    except ValueError as error:
        raise SourceRefused(f"user {user!r}: the password is too long for the server's key; shorten it") from error


def _check_unchanged(chosen: ua.EndpointDescription, certificate: bytes, created: ua.CreateSessionResult) -> None:
    """Compare CreateSession's answer with what discovery said, which nobody had signed (OPC 10000-4, 5.6.2)."""
    if not (created.ServerCertificate or b"").startswith(certificate):
        raise SourceRefused(
            "swapped: the server's session bears another certificate than its endpoints did; look for a "
            "device between, or restart the server after a change of its certificate"
        )
    if len(created.ServerNonce or b"") < NONCE:
        raise SourceRefused(f"the server's nonce is shorter than {NONCE} bytes; ask its maker for an update")
    if not any(_same(chosen, endpoint, certificate) for endpoint in created.ServerEndpoints or []):
        raise SourceRefused(
            "swapped: the session's endpoints do not hold the one that was chosen, with the same certificate, policy, "
            "mode and user tokens; look for a device between"
        )


def _same(chosen: ua.EndpointDescription, seen: ua.EndpointDescription, certificate: bytes) -> bool:
    """Return whether two descriptions agree; a server may leave out certificate and application there."""
    uri = seen.Server.ApplicationUri
    return (
        seen.SecurityPolicyUri == chosen.SecurityPolicyUri
        and seen.SecurityMode == chosen.SecurityMode
        and (not seen.ServerCertificate or seen.ServerCertificate.startswith(certificate))
        and (not uri or uri == chosen.Server.ApplicationUri)
        and set(map(_token_key, seen.UserIdentityTokens or [])) == set(map(_token_key, chosen.UserIdentityTokens or []))
    )


def _token_key(token: ua.UserTokenPolicy) -> tuple[str, int, str, str, str]:
    return (
        token.PolicyId or "",
        int(token.TokenType),
        token.SecurityPolicyUri or "",
        token.IssuedTokenType or "",
        token.IssuerEndpointUrl or "",
    )


def _token(
    source: Source, tokens: Sequence[ua.UserTokenPolicy], channel: library.SecurityPolicy
) -> list[ua.UserTokenPolicy]:
    """Return the one token policy to use for the configured user; raises SourceRefused where none is fit."""
    if not source.user and source.user_certificate is None:
        return _anonymous(tokens)
    kind = ua.UserTokenType.UserName if source.user else ua.UserTokenType.Certificate
    of_kind = [token for token in tokens if token.TokenType == kind]
    if not of_kind:
        raise SourceRefused(f"the server admits no {_user_kind(kind)}, but {_admits(tokens)}; configure one of these")
    effective = {token.PolicyId: token.SecurityPolicyUri or channel.URI for token in of_kind}
    encrypted = channel.Mode == ua.MessageSecurityMode.SignAndEncrypt
    fit = [token for token in of_kind if effective[token.PolicyId] in _STRONG]
    if not fit and kind == ua.UserTokenType.UserName and encrypted:
        fit = [token for token in of_kind if effective[token.PolicyId] == _NO_POLICY]
    if not fit:
        raise SourceRefused(_unfit(source, kind, sorted(map(_policy_name, effective.values()))))
    return fit[:1]


def _anonymous(tokens: Sequence[ua.UserTokenPolicy]) -> list[ua.UserTokenPolicy]:
    found = [token for token in tokens if token.TokenType == ua.UserTokenType.Anonymous]
    if tokens and not found:
        raise SourceRefused(
            f"the server does not admit anonymous readers, but {_admits(tokens)}; write user and password, or "
            "user_certificate and user_key"
        )
    return found[:1]


def _unfit(source: Source, kind: ua.UserTokenType, policies: Sequence[str]) -> str:
    offered = ", ".join(policies)
    if kind == ua.UserTokenType.UserName:
        return (
            f"user {source.user!r}: the password would be readable on the wire, since the server takes it under "
            f"{offered} on a channel {source.security!r}; write SignAndEncrypt in security, or give the server's "
            "user token a policy"
        )
    return (
        f"user_certificate {str(source.user_certificate)!r}: the server would take it under {offered}, without a "
        "proof worth the name; give the server's user token a policy"
    )


def _user_kind(kind: ua.UserTokenType) -> str:
    names = {ua.UserTokenType.Anonymous: "anonymous reader", ua.UserTokenType.UserName: "user name"}
    return (names | {ua.UserTokenType.Certificate: "certificate user"}).get(kind, "user of another kind")


def _admits(tokens: Sequence[ua.UserTokenPolicy]) -> str:
    return ", ".join(sorted({_user_kind(token.TokenType) for token in tokens})) or "nobody"


_NOT_WITHOUT = (
    'security "None": the server does not talk without security; write security = "Basic256Sha256/SignAndEncrypt", '
    "which tells what it offers where it does not offer that"
)


# --- what the server objects to ---


@contextlib.contextmanager
def refusals(source: Source) -> Iterator[None]:
    """Turn the library's errors that a person must mend into SourceRefused; all others pass."""
    try:
        yield
    except UaStatusCodeError as error:
        name = ua.StatusCode(ua.UInt32(error.code)).name
        if source.security == "None" and name in ("BadSecurityPolicyRejected", "BadSecurityModeRejected"):
            raise SourceRefused(_NOT_WITHOUT) from error
        if (why := _objection(name, source)) is None:
            raise
        raise SourceRefused(f"the server refuses with {name}: {why}") from error
    except InvalidSignature as error:
        raise SourceRefused(
            "swapped: the server's session is not signed with the key of its certificate; look for a device between"
        ) from error
    except UaError as error:
        # The library has no class of its own for these two.
        if not str(error).startswith(("Server certificate mismatch", "No matching endpoints")):
            raise
        if source.security == "None":
            raise SourceRefused(_NOT_WITHOUT) from error
        raise SourceRefused(
            f"swapped: the server's session differs from the endpoints it offered ({error}); look for a device between"
        ) from error


def _objection(name: str, source: Source) -> str | None:
    own: Path = certificates.own_path(source)
    trust = f"copy {own} into the server's trust list (many servers have it among the rejected ones)"
    if name in ("BadSecurityChecksFailed", "BadCertificateUntrusted", "BadCertificateChainIncomplete"):
        return f"it does not trust our certificate; {trust}"
    if name.startswith("BadCertificate"):
        return f"it objects to our certificate {own}; make or order one that meets its rules, then {trust}"
    if name.startswith(("BadIdentityToken", "BadUserAccessDenied", "BadUserSignature")):
        return f"it does not admit {_who(source)}; look at the name, the password and the rights in the server"
    if name.startswith(("BadSecurityPolicy", "BadSecurityMode")):
        return f"it objects to security {source.security!r}; write one that it offers"
    if name.startswith(("BadApplicationSignature", "BadNonce", "BadSecurity")):
        return f"it objects to the channel's security; {trust}"
    return None


def _who(source: Source) -> str:
    if source.user:
        return f"user {source.user!r}"
    return "the certificate user" if source.user_certificate is not None else "anonymous readers"
