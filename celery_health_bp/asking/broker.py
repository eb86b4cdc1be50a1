"""The package's connection to the broker, with timeouts, and its errors.

It does not use ``app.pool``: ten simultaneous ``inspect`` calls on the app's pool deadlock a process, and a
pool that was used before a fork returns wrong answers after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from kombu import Connection

from ..errors import BrokerUnreachable, RemoteControlOff
from .place import broker_place, broker_urls, master_name, place_of
from .timeouts import ONE_RETRY, timeout_options, without_retries

#: Timeout of one connect, read or write. Measured: with this value and one immediate retry, every silent,
#: frozen or unreachable Redis and RabbitMQ raised an error within 0.9 s.
IO_TIMEOUT_SECONDS = 0.8


def open_connection(app: Any, timeout_seconds: float, **amqp_callbacks: Callable[..., None]) -> Connection:
    """Return a new, established connection to the app's broker; of several brokers, to the first reachable one.

    Arguments:
        app: the Celery app.
        timeout_seconds: timeout of connecting, and of each later read and write.
        amqp_callbacks: ``on_blocked`` and ``on_unblocked`` of an AMQP connection.

    Raises:
        BrokerUnreachable: no broker can be reached. The message names transport, host and port.
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
        connection.cycle = None  # else kombu tries the next URL with its own transport class and options
        transport = connection.get_transport_cls()
        given = connection.transport_options
        options = {**given, **timeout_options(transport, given, timeout_seconds)}
        if transport.driver_type == "amqp":
            options.update(amqp_callbacks)
        if transport.driver_type == "redis":
            connection.transport_cls = without_retries(transport)
        connection.transport_options = options
        connection.ensure_connection(**ONE_RETRY, timeout=timeout_seconds)
    except Exception as exc:  # each transport raises its own classes
        if connection is not None:
            drop_connection(connection)
        raise unreachable(place, exc) from exc
    return connection


def drop_connection(connection: Connection) -> None:
    """Close a connection without sending anything to the broker, which may not answer."""
    poller = getattr(getattr(connection.transport, "cycle", None), "poller", None)
    with suppress(Exception):  # the socket is closed even if the connection was broken
        if connection.transport.driver_type == "amqp":
            connection.collect()  # close() would wait for the broker's close-ok
        else:
            connection.release()
    if poller is not None and hasattr(poller, "close"):  # kombu's Redis transport leaves its epoll descriptor open
        poller.close()


def require_remote_control(app: Any) -> None:
    """Check that the app's configuration and transport have remote control, without connecting.

    Raises:
        RemoteControlOff: ``worker_enable_remote_control`` is off, or the transport has no broadcast.
        BrokerUnreachable: the broker URL cannot be used, see ``broker_place``.
    """
    place = broker_place(app)  # first: parts of a URL that cannot be parsed must not reach a message or the DNS
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


#: Our name for a TimeoutError during the TLS handshake, which has no separate class.
HANDSHAKE_TIMEOUT = "timeout in the TLS handshake"

#: Our name for an AccessRefused after login. RabbitMQ raises the same class for a failed login.
FORBIDDEN = "AccessRefused by a method"

#: Names of exception classes or their bases -> the sentence and the recommendation. First match wins.
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
    """Return our error for an exception of the transport; the message never quotes the exception's text.

    Arguments:
        place: the broker's address, see ``place.py``.
        exc: what the transport raised.
    """
    causes = _causes(exc)
    names = {kind.__name__ for cause in causes for kind in type(cause).__mro__}
    if any(isinstance(cause, TimeoutError) and "handshake" in str(cause) for cause in causes):
        names.add(HANDSHAKE_TIMEOUT)
    if any(type(cause).__name__ == "AccessRefused" and _is_from_method(cause) for cause in causes):
        names.add(FORBIDDEN)
    for classes, what, advice in REASONS:
        if classes & names:
            return BrokerUnreachable(f"Broker {place} {what}", f"{advice}: {place}")
    return BrokerUnreachable(
        f"Broker {place} cannot be used ({type(exc).__name__})", f"Check the broker and the network to it: {place}"
    )


def blocked(place: str) -> BrokerUnreachable:
    """Return the error for a RabbitMQ that blocks publishers."""
    return BrokerUnreachable(
        f"Broker {place} blocks publishers (memory or disk alarm)", f"Free memory or disk space on the broker: {place}"
    )


def _is_from_method(exc: BaseException) -> bool:
    """Return whether py-amqp's error names a method, such as (50, 10): Queue.declare. A failed login names none."""
    class_id, *_ = getattr(exc, "method_sig", None) or (0,)
    return bool(class_id)


def _causes(exc: BaseException) -> list[BaseException]:
    """Return the exception and its causes: transports wrap the informative error."""
    found: list[BaseException] = []
    following: BaseException | None = exc
    while following is not None and following not in found:
        found.append(following)
        following = following.__cause__ or following.__context__
    return found
