"""gRPC through HAProxy as dsrlb configures it, by a client and servers of gRPC's own: calls and streams."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue

import grpc
import pytest
from golden_haproxy import needs_haproxy
from proxying import Running, running

pytestmark = needs_haproxy

FOLDER = Path(__file__).parents[1] / "certificate"
HEAD = '[[service]]\nname = "{}"\nvip = "198.18.1.100:{}"\nmode = "proxy"\nscheduler = "rr"\n'
OPTIONS = '[service.proxy]\nlayer = 7\nserver_protocol = "h2"\n'
ROUTE = '[[service.route]]\npath = "/lab.Other"\ngroup = "other"\n'
SERVER = '[[service.backend]]\nname = "{}"\naddress = "198.18.1.{}"\n'
OTHER = SERVER.format("other", 4) + 'group = "other"\n'
TEXT = (
    HEAD.format("clear", 80) + OPTIONS + ROUTE + SERVER.format("g1", 1) + SERVER.format("g2", 2) + OTHER
    + HEAD.format("tls", 443) + OPTIONS + 'certificates = "/etc/dsrlb/local.pem"\n' + SERVER.format("g3", 3)
)  # fmt: skip
WITHIN_S = 20


class Echo(grpc.GenericRpcHandler):
    """Sends back what comes, with its own name before it; whatever the service and the method are called."""

    def __init__(self, name: str) -> None:
        self.name = name.encode()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method.endswith("/Call"):
            return grpc.unary_unary_rpc_method_handler(self.call)
        if details.method.endswith("/Stream"):
            return grpc.stream_stream_rpc_method_handler(self.stream)
        return None  # gRPC answers UNIMPLEMENTED

    def call(self, said: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("answered-by", self.name.decode()),))
        if said == b"fail":
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")
        return self.name + b" " + said

    def stream(self, many: Iterable[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for said in many:
            yield self.name + b" " + said


@contextmanager
def server(name: str) -> Iterator[int]:
    """Run a server of gRPC; yield its port."""
    it = grpc.server(ThreadPoolExecutor(4), handlers=[Echo(name)])
    port = it.add_insecure_port("127.0.0.1:0")
    it.start()
    try:
        yield port
    finally:
        it.stop(None).wait()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    at = tmp_path_factory.mktemp("grpc")
    shutil.copy(FOLDER / "server.pem", at / "local.pem")
    with ExitStack() as stack:
        ports = {name: stack.enter_context(server(name)) for name in ("g1", "g2", "g3", "other")}
        yield stack.enter_context(running(TEXT, at, elsewhere=ports))


@contextmanager
def channel(proxy: Running, service: str) -> Iterator[grpc.Channel]:
    """Connect as a client of gRPC does; by TLS, the certificate is looked at."""
    to = f"127.0.0.1:{proxy.ports[service]}"
    if service == "clear":
        made = grpc.insecure_channel(to)
    else:
        trusted = grpc.ssl_channel_credentials((FOLDER / "server.pem").read_bytes())
        made = grpc.secure_channel(to, trusted, [("grpc.ssl_target_name_override", "localhost")])
    with made as it:
        yield it


@pytest.mark.parametrize(("service", "servers"), [("clear", {"g1": 5, "g2": 5}), ("tls", {"g3": 10})])
def test_each_call_of_one_connection_is_answered_and_balanced_by_itself(
    proxy: Running, service: str, servers: dict[str, int]
) -> None:
    with channel(proxy, service) as it:
        call = it.unary_unary("/lab.Echo/Call")
        answers = [call(b"%d" % number, timeout=WITHIN_S).split() for number in range(10)]
    assert [int(said) for _, said in answers] == list(range(10))
    assert Counter(name.decode() for name, _ in answers) == servers


@pytest.mark.parametrize("service", ["clear", "tls"])
def test_a_stream_goes_both_ways_while_it_lasts_and_to_one_server(proxy: Running, service: str) -> None:
    """Each message is sent only when the one before has come back."""
    heard: list[bytes] = []
    to_say: SimpleQueue[bytes] = SimpleQueue()
    to_say.put(b"0")
    with channel(proxy, service) as it:
        for back in it.stream_stream("/lab.Echo/Stream")(iter(to_say.get, b"end"), timeout=WITHIN_S):
            heard.append(back)
            to_say.put(b"%d" % len(heard) if len(heard) < 50 else b"end")
    assert [int(one.split()[1]) for one in heard] == list(range(50))
    assert len({one.split()[0] for one in heard}) == 1


def test_a_status_and_what_trails_an_answer_come_through(proxy: Running) -> None:
    with channel(proxy, "clear") as it:
        with pytest.raises(grpc.RpcError) as failed:
            it.unary_unary("/lab.Echo/Call")(b"fail", timeout=WITHIN_S)
        assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert failed.value.details() == "enough"
        assert dict(failed.value.trailing_metadata())["answered-by"] in ("g1", "g2")
        with pytest.raises(grpc.RpcError) as unknown:
            it.unary_unary("/lab.Echo/None")(b"", timeout=WITHIN_S)
        assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_service_of_grpc_has_its_route(proxy: Running) -> None:
    with channel(proxy, "clear") as it:
        assert it.unary_unary("/lab.Other/Call")(b"a", timeout=WITHIN_S) == b"other a"
        assert it.unary_unary("/lab.Others/Call")(b"a", timeout=WITHIN_S)[:2] in (b"g1", b"g2")
