"""The package's own connection to the broker: outside ``app.pool``, bounded in time.

Ten simultaneous ``inspect`` calls on the app's pool deadlock a process, and a
pool used before a fork gives wrong answers after it; so the pool is never touched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from kombu import Connection

from ..errors import BrokerUnreachable, RemoteControlOff
from .patience import ONE_RETRY, impatient, limits
from .place import broker_place, broker_urls, master_name, place_of

#: One read, write or connect. Measured: with it and a single retry without pause, every
#: silent, frozen or unreachable Redis and RabbitMQ gave an error within 0.9 s.
IO_TIMEOUT_SECONDS = 0.8


def open_connection(app: Any, timeout_seconds: float, **amqp_callbacks: Callable[..., None]) -> Connection:
    """A new connection to the app's broker, established: of several, the first that can be reached.

    Arguments:
        timeout_seconds: bounds connecting, and each read and write afterwards.
        amqp_callbacks: ``on_blocked`` and ``on_unblocked`` of an AMQP connection.

    Raises:
        BrokerUnreachable: with a sentence that names transport, host and port.
    """
    end, problems = time.monotonic() + 2 * timeout_seconds, []
    for url in broker_urls(app):
        try:
            return _open(app, url, timeout_seconds, amqp_callbacks)
        except BrokerUnreachable as problem:
            problems.append(problem)
        if time.monotonic() > end:
            break
    if len(problems) == 1:
        raise problems[0]
    sentences = [str(problem) for problem in problems]
    raise BrokerUnreachable("; ".join(sentences), "; ".join([problem.recommendation for problem in problems]))


def _open(app: Any, url: Any, timeout_seconds: float, amqp_callbacks: Mapping[str, Callable[..., None]]) -> Connection:
    place = place_of(app, url)
    if place.startswith("sentinel://") and master_name(app) is None:
        raise BrokerUnreachable(
            f"Broker {place} needs the name of a master", "Set broker_transport_options = {'master_name': NAME}"
        )
    connection = None
    try:
        connection = app.connection_for_write(url, connect_timeout=timeout_seconds, heartbeat=0)
        connection.cycle = None  # kombu would go on to the next URL with a transport that is not impatient
        transport = connection.get_transport_cls()
        options = {**connection.transport_options, **limits(transport, connection.transport_options, timeout_seconds)}
        if transport.driver_type == "amqp":
            options.update(amqp_callbacks)
        if transport.driver_type == "redis":
            connection.transport_cls = impatient(transport)
        connection.transport_options = options
        connection.ensure_connection(**ONE_RETRY, timeout=timeout_seconds)
    except Exception as exc:  # each transport has exceptions of its own: named by cause below
        if connection is not None:
            drop_connection(connection)
        raise unreachable(place, exc) from exc
    return connection


def drop_connection(connection: Connection) -> None:
    """Close a connection without another word to a broker that may not answer."""
    poller = getattr(getattr(connection.transport, "cycle", None), "poller", None)
    with suppress(Exception):  # if it was broken, the socket is closed either way
        if connection.transport.driver_type == "amqp":
            connection.collect()  # closing in form would wait for the broker's consent
        else:
            connection.release()
    if poller is not None and hasattr(poller, "close"):  # kombu's Redis transport leaves its epoll descriptor open
        poller.close()


def require_remote_control(app: Any) -> None:
    """See that workers can be asked at all, before anything is sent.

    Raises:
        RemoteControlOff: the app's configuration or its transport does not let them.
        BrokerUnreachable: the broker URL cannot be parsed.
    """
    place = broker_place(app)  # first: no part of a URL that cannot be parsed may reach a message, or a name server
    if not app.conf.worker_enable_remote_control:
        raise RemoteControlOff(
            "Whether workers run cannot be known: worker_enable_remote_control is off",
            "Set worker_enable_remote_control = True for the workers and here",
        )
    if "fanout" not in app.connection_for_write().get_transport_cls().implements.exchange_type:
        raise RemoteControlOff(
            f"Whether workers run cannot be known: broker {place} has no broadcast",
            "Use a broker with remote control, such as Redis or RabbitMQ",
        )


#: No exception has a class of its own for this.
HANDSHAKE_TIMEOUT = "timeout in the TLS handshake"

#: A RabbitMQ that refuses a login, or a name to a user whom it let in, raises the same class.
FORBIDDEN = "AccessRefused by a method"

#: Names of exception classes (or of their bases) -> what happened, what to do. First match wins.
REASONS: tuple[tuple[frozenset[str], str, str], ...] = (
    (
        frozenset({"gaierror"}),
        "has a host name that cannot be resolved",
        "Check the host name and the DNS",
    ),
    (
        frozenset({"ConnectionRefusedError"}),
        "refused the connection",
        "Start the broker, or check host and port",
    ),
    (
        frozenset({"MasterNotFoundError"}),
        "has no master that a sentinel names",
        "Check that the sentinels run, and that they watch a master of this name",
    ),
    (
        frozenset({"NoPermissionError", FORBIDDEN}),
        "denies the user a permission",
        "Grant what docs/permissions.md lists: commands, keys and channels (Redis), names (RabbitMQ)",
    ),
    (
        frozenset({"AuthenticationError", "AccessRefused"}),
        "refused the credentials",
        "Check user name and password",
    ),
    (
        frozenset({"NotAllowed"}),
        "refused the virtual host",
        "Check the virtual host (the path of the URL) and the user's permissions on it",
    ),
    (
        frozenset({"BusyLoadingError"}),
        "is still loading its data",
        "Wait until it has loaded",
    ),
    (
        frozenset({"ReadOnlyError"}),
        "takes no writes: it is a read-only replica",
        "Connect to the primary",
    ),
    (
        frozenset({"OutOfMemoryError"}),
        "takes no writes: it has reached its memory limit",
        "Give it memory, or find what fills it",
    ),
    (
        frozenset({"SSLError"}),
        "failed the TLS handshake",
        "Check the certificates, and that this port speaks TLS",
    ),
    (
        frozenset({HANDSHAKE_TIMEOUT}),
        "did not complete the TLS handshake in time",
        "Check that this port speaks TLS, and whether the broker is overloaded or frozen",
    ),
    (
        frozenset({"TimeoutError"}),
        "did not answer in time",
        "Check whether the broker is overloaded or frozen, and the network to it",
    ),
    (
        frozenset({"ConnectionError", "ConnectionForced", "RecoverableConnectionError"}),
        "closed the connection",
        "Check whether the broker runs, and whether this port speaks the protocol of the URL",
    ),
)


def unreachable(place: str, exc: BaseException) -> BrokerUnreachable:
    """The sentence and the advice for an error of the transport; never quotes its text."""
    causes = _causes(exc)
    names = {kind.__name__ for cause in causes for kind in type(cause).__mro__}
    if any(isinstance(cause, TimeoutError) and "handshake" in str(cause) for cause in causes):
        names.add(HANDSHAKE_TIMEOUT)
    if any(type(cause).__name__ == "AccessRefused" and _is_of_a_method(cause) for cause in causes):
        names.add(FORBIDDEN)
    for classes, what, advice in REASONS:
        if classes & names:
            return BrokerUnreachable(f"Broker {place} {what}", f"{advice}: {place}")
    return BrokerUnreachable(
        f"Broker {place} cannot be used ({type(exc).__name__})", f"Check the broker and the network to it: {place}"
    )


def blocked(place: str) -> BrokerUnreachable:
    """The problem of a RabbitMQ that takes no messages for the time being."""
    return BrokerUnreachable(
        f"Broker {place} blocks publishers (memory or disk alarm)", f"Free memory or disk space on the broker: {place}"
    )


def _is_of_a_method(exc: BaseException) -> bool:
    """The error of py-amqp answers a method of a channel, such as Queue.declare: (50, 10). A login has none."""
    class_id, *_ = getattr(exc, "method_sig", None) or (0,)
    return bool(class_id)


def _causes(exc: BaseException) -> list[BaseException]:
    """The exception and what led to it: transports wrap the error that tells."""
    found: list[BaseException] = []
    following: BaseException | None = exc
    while following is not None and following not in found:
        found.append(following)
        following = following.__cause__ or following.__context__
    return found
