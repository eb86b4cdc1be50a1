"""The internals of Celery and kombu that the package uses exist and have the expected form.

A failure names what changed and the file of the package that uses it.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from concurrent.futures import Future
from contextlib import closing
from typing import Any

import celery
import kombu
import pytest
from celery import Celery, Task, signals
from celery._state import _get_active_apps
from celery.apps import worker as worker_command
from celery.concurrency.solo import TaskPool as SoloPool
from celery.concurrency.thread import ApplyResult
from celery.utils.serialization import UnpickleableExceptionWrapper
from celery.worker.consumer import Consumer as WorkerConsumer
from celery.worker.control import Panel
from celery.worker.request import Request, create_request_cls
from kombu import Consumer, Queue
from kombu.transport.virtual import BrokerState, Channel

from celery_health_bp import MonitoredTask
from celery_health_bp.asking.control_channel import ControlChannel
from celery_health_bp.asking.fleet import Fleet
from celery_health_bp.asking.replies import facts_of
from celery_health_bp.counting.bootstep import CANCEL_METHODS, RecorderStep
from celery_health_bp.counting.request import MonitoredRequest
from celery_health_bp.wire import COUNTS_COMMAND
from tests.support.nodes import ScriptedNode
from tests.support.processes import ROOT, wait_until
from tests.support.versions import DIFFERENCES

HERE = f"Celery {celery.__version__}, kombu {kombu.__version__}"


def changed(what: str, where: str, found: object) -> str:
    """Return the message of a failure."""
    return f"{HERE}: {what} is not what celery_health_bp/{where} expects; found: {found}"


@pytest.fixture
def memory_app() -> Celery:
    """An app on the memory transport with one monitored task."""
    app = Celery("internals", broker="memory://", task_cls=MonitoredTask, set_as_current=False)
    app.conf.broker_transport_options = {"polling_interval": 0.01}
    app.task(name="work", shared=False)(work)
    return app


def work(customer_id: str) -> str:
    """Return the argument."""
    return customer_id


# -- celery.worker.request, by request.py --

HOOKS = {
    "on_accepted": ["pid", "time_accepted"],
    "on_success": ["failed__retval__runtime"],
    "on_timeout": ["soft", "timeout"],
    "on_failure": ["exc_info"],
    "_announce_revoked": ["reason", "terminated", "signum", "expired"],
    "_announce_cancelled": [],
    "execute_using_pool": ["pool"],
}


@pytest.mark.parametrize(("name", "arguments"), HOOKS.items())
def test_a_request_has_the_hook(name: str, arguments: list[str]) -> None:
    """Celery's Request has the method that ours overrides, with the same first arguments."""
    found = list(inspect.signature(getattr(Request, name, lambda: None)).parameters)
    assert found[: len(arguments) + 1] == ["self", *arguments], changed(f"Request.{name}()", "request.py", found)


def test_a_cold_shutdown_cancels_by_a_method_of_the_consumer() -> None:
    """A cold shutdown calls the consumer's method that our step wraps; the loss of a connection does not."""
    difference = DIFFERENCES["soft_shutdown"]
    called = [name for name in CANCEL_METHODS if f"worker.consumer.{name}()" in inspect.getsource(worker_command)]
    assert len(called) == difference.holds, changed("cancel_active_requests()", "bootstep.py", called)
    assert all(hasattr(WorkerConsumer, name) for name in called), changed("the Consumer", "bootstep.py", called)
    lost = inspect.getsource(WorkerConsumer.on_connection_error_after_connected)
    assert not any(name in lost for name in CANCEL_METHODS), changed(
        "the lost connection's handler", "bootstep.py", lost
    )


NEWER_HOOKS = {"_success_was_stored": "lost_after_success", "_retry_worker_lost": "retry_on_worker_lost"}


@pytest.mark.parametrize(("name", "difference"), NEWER_HOOKS.items())
def test_a_request_has_the_hook_from_its_version_on(name: str, difference: str) -> None:
    """``Request.on_failure`` calls the method from the version that the table gives."""
    found = f"def {name}(" in inspect.getsource(Request), f"self.{name}(" in inspect.getsource(Request.on_failure)
    assert set(found) == {DIFFERENCES[difference].holds}, changed(f"Request.{name}()", "request.py", found)


@pytest.mark.parametrize("name", ["app", "task", "args", "kwargs", "eta", "request_dict"])
def test_a_request_has_the_attribute(name: str) -> None:
    """A Request has task, decoded arguments and headers in the main process, in slots behind properties."""
    found = getattr(Request, name, None), getattr(Request, f"_{name}", None)
    assert all(map(inspect.isdatadescriptor, found)), changed(f"Request.{name}", "request.py", found)


@pytest.mark.parametrize("name", ["on_success", "execute_using_pool"])
def test_the_request_class_of_each_task_is_wrapped(memory_app: Celery, name: str) -> None:
    """``create_request_cls`` overrides two methods in a subclass, and ours wrap them."""
    made = create_request_cls(MonitoredRequest, memory_app.tasks["work"], SoloPool(1), "here", None)
    assert issubclass(made, MonitoredRequest), changed("create_request_cls()", "request.py", made.__mro__)
    assert name in vars(made), changed(f"create_request_cls().{name}", "request.py", sorted(vars(made)))
    assert hasattr(vars(made)[name], "__wrapped__"), changed(f"create_request_cls().{name}", "request.py", "unwrapped")


def test_a_result_of_the_threads_pool_has_its_future() -> None:
    """The result of the threads pool has the future that holds an exception which escaped the tracer."""
    future: Future[None] = Future()
    assert getattr(ApplyResult(future), "f", None) is future, changed("thread.ApplyResult.f", "request.py", "no future")


def test_an_unpicklable_exception_has_its_class_name() -> None:
    """The wrapper of an unpicklable exception carries the name of its class."""
    found = UnpickleableExceptionWrapper.from_exception(KeyError("x"))
    name = getattr(found, "exc_cls_name", None)
    assert name == "KeyError", changed("UnpickleableExceptionWrapper.exc_cls_name", "versions.py", name)


# -- tasks and the worker, by tasks.py, eager.py and bootstep.py --


def test_apply_async_takes_these_arguments() -> None:
    """``Task.apply_async`` takes the arguments that ours passes by position, and a task names its Request class."""
    found = list(inspect.signature(Task.apply_async).parameters)
    expected = ["self", "args", "kwargs", "task_id", "producer", "link", "link_error", "shadow", "options"]
    assert found == expected, changed("Task.apply_async()", "tasks.py", found)
    assert Task.Request == "celery.worker.request:Request", changed("Task.Request", "tasks.py", Task.Request)


def test_an_eager_run_sends_two_signals(memory_app: Celery) -> None:
    """``task_prerun`` and ``task_postrun`` of an eager run carry the arguments that eager.py reads."""
    seen: dict[str, dict[str, Any]] = {}

    def prerun(**arguments: Any) -> None:
        seen["prerun"] = {**arguments, "is_eager": arguments["task"].request.is_eager}

    def postrun(**arguments: Any) -> None:
        seen["postrun"] = arguments

    signals.task_prerun.connect(prerun)
    signals.task_postrun.connect(postrun)
    memory_app.tasks["work"].apply(["acme"])
    assert seen["prerun"].keys() >= {"task", "args", "kwargs"}, changed("task_prerun", "eager.py", seen)
    assert seen["prerun"]["is_eager"] is True, changed("task.request.is_eager", "eager.py", seen)
    assert seen["postrun"].keys() >= {"task", "args", "kwargs", "retval"}, changed("task_postrun", "eager.py", seen)
    assert seen["postrun"]["state"] == "SUCCESS", changed("state of task_postrun", "eager.py", seen)


def test_our_step_is_the_first_of_a_worker() -> None:
    """A worker starts our step before its pool, and so stops it afterwards, when all attempts have been counted."""
    # In a new process: creating a worker changes process-wide state of Celery, and the log.
    code = (
        "from tests.support.apps.jobs import app; worker = app.WorkController(pool='solo', concurrency=1);"
        "print(*(type(step).__name__ for step in worker.steps))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30)
    steps = done.stdout.split()
    assert steps[:1] == [RecorderStep.__name__], changed("the order of a worker's steps", "bootstep.py", done)
    assert "Pool" in steps[1:], changed("the worker's Pool step", "bootstep.py", done)


def test_our_command_is_registered() -> None:
    """``inspect_command`` has registered the command that a scrape without a store sends."""
    assert COUNTS_COMMAND in Panel.data, changed("inspect_command()", "bootstep.py", sorted(Panel.data))


# -- kombu.pidbox and its transports, by control_channel.py, reply_queue.py and broker.py --


def test_our_commands_have_the_form_of_celerys(memory_app: Celery) -> None:
    """Our broadcast has the same keys and headers as that of Celery."""
    found: list[tuple[set[str], set[str], set[str]]] = []

    def keep(body: Any, message: Any) -> None:
        found.append((set(body), set(body["reply_to"]), set(message.headers)))

    with memory_app.connection_for_read() as connection:
        queue = Queue("eavesdropper", exchange=memory_app.control.mailbox.exchange, auto_delete=True)
        with Consumer(connection.default_channel, [queue], callbacks=[keep], accept=["json"], no_ack=True):
            memory_app.control.broadcast("ping", reply=True, timeout=0.01)
            line = ControlChannel(memory_app, 1, lambda node, command, reply: (node, facts_of(node, command, reply)))
            line.publish({"ping": {}})
            wait_until(lambda: connection.drain_events(timeout=1) or len(found) == 2, "both commands have come", 5)
            line.close()
    stock, ours = found
    assert ours == stock, changed("the message of kombu.pidbox", "control_channel.py", stock)


def test_a_node_of_kombu_answers_us(memory_app: Celery) -> None:
    """A node replies to each of our commands through our reply queue."""
    with ScriptedNode(memory_app, "a@t"), closing(Fleet(memory_app)) as fleet:
        found = fleet.ask(1).facts
    of_each_command = {"pool", "queues", "running", "scheduled", "reserved"}
    assert found.get("a@t", {}).keys() > of_each_command, changed(
        "a reply of kombu.pidbox", "control_channel.py", found
    )


def test_the_apps_of_a_process_are_listed(memory_app: Celery) -> None:
    """Celery keeps a list of the apps of the process."""
    found = list(_get_active_apps())
    assert memory_app in found, changed("_state._get_active_apps()", "applications.py", found)


def test_virtual_channels_read_and_declare_bindings() -> None:
    """A virtual transport has the methods by which reply_queue.py reads and declares bindings."""
    found = list(inspect.signature(BrokerState.binding_declare).parameters)
    expected = ["self", "queue", "exchange", "routing_key", "arguments"]
    assert found == expected, changed("virtual.BrokerState.binding_declare()", "reply_queue.py", found)
    assert hasattr(Channel, "get_table"), changed("virtual.Channel.get_table()", "reply_queue.py", "nothing")


def test_the_redis_transport_has_the_expected_options_and_hooks() -> None:
    """A Redis channel takes the options, and has the methods and attributes, that the package sets or overrides."""
    pytest.importorskip("redis")
    from kombu.transport.redis import Channel as RedisChannel
    from kombu.transport.redis import MultiChannelPoller, PrefixedStrictRedis

    found = list(inspect.signature(RedisChannel._connparams).parameters)
    assert found == ["self", "asynchronous"], changed("redis.Channel._connparams()", "broker.py", found)
    options = {"ack_emulation", "socket_timeout", "socket_connect_timeout", "max_retries"}
    missing = options - {*RedisChannel.from_transport_options, *inspect.getsource(RedisChannel._connparams).split("'")}
    assert missing <= {"max_retries"}, changed("redis.Channel's options", "broker.py", missing)
    found = list(inspect.signature(RedisChannel._has_queue).parameters)
    assert found == ["self", "queue", "kwargs"], changed("redis.Channel._has_queue()", "timeouts.py", found)
    prefixed = PrefixedStrictRedis.PREFIXED_SIMPLE_COMMANDS
    assert "LLEN" in prefixed, changed("the prefixed commands of kombu's Redis client", "timeouts.py", prefixed)
    assert hasattr(RedisChannel, "_in_poll"), changed("redis.Channel._in_poll", "broker.py", "nothing")
    poller = MultiChannelPoller().poller
    assert callable(getattr(poller, "close", None)), changed("MultiChannelPoller.poller", "broker.py", poller)
    poller.close()
