"""TLS and mutual TLS between our servers and our clients."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from shared.client.connection import Connection
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1.inference_pb2_grpc import InferenceStub
from shared.errors import InvalidArgument, Unavailable
from shared.rpc.probe import is_serving
from shared.rpc.secured import SecuredChannel
from shared.rpc.security import OPEN, Security
from shared.rpc.server import Server
from tests.integration.security.world import World, classify, generate
from tests.support.certificates import Authority
from tests.support.wait import eventually

Serve = Callable[..., World]


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture(scope="module")
def server_side(authority: Authority) -> Security:
    pair = authority.sign("server")
    return Security(certificate=pair.certificate, key=pair.key)


def why(world: World, security: Security) -> str:
    connection = Connection("inference", world.address, timeout=10, patience=0, security=security)
    with pytest.raises(Unavailable) as caught:
        connection.call(connection.stub(InferenceStub).Classify, pb.ClassifyRequest())
    connection.close()
    return caught.value.message


def test_a_client_that_trusts_the_authority_is_answered(
    serve: Serve, authority: Authority, server_side: Security
) -> None:
    world = serve(server_side)
    client = Security(authority=authority.path)
    assert classify(world.channel(client)) == ""
    assert is_serving(world.address, 5, client)
    assert not is_serving(world.address, 5, OPEN)


def test_a_client_is_told_what_is_wrong_with_the_connection(
    serve: Serve, authority: Authority, stranger: Authority, server_side: Security
) -> None:
    world, plain = serve(server_side), serve()
    assert "not signed by FLYWHEEL_TLS_CA" in why(world, Security(authority=stranger.path))
    assert "not signed by FLYWHEEL_TLS_CA" in why(world, Security(authority="system"))
    assert "may want TLS (FLYWHEEL_TLS_CA)" in why(world, OPEN)
    assert "speaks no TLS" in why(plain, Security(authority=authority.path))
    elsewhere = authority.sign("elsewhere", names="subjectAltName=DNS:elsewhere")
    other = serve(Security(certificate=elsewhere.certificate, key=elsewhere.key))
    assert "not for this host name" in why(other, Security(authority=authority.path))


def test_a_server_with_a_client_authority_wants_a_certificate_from_it(
    serve: Serve, authority: Authority, stranger: Authority, server_side: Security
) -> None:
    world = serve(replace(server_side, client_authority=authority.path))
    known, unknown = authority.sign("client"), stranger.sign("client")
    assert classify(world.channel(Security(known.certificate, known.key, authority.path))) == ""
    for client in (Security(authority=authority.path), Security(unknown.certificate, unknown.key, authority.path)):
        assert "a certificate of ours (FLYWHEEL_TLS_CERT)" in why(world, client)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda ours, other, gone: replace(ours, key=""), "belong together"),
        (lambda ours, other, gone: Security(client_authority=ours.certificate), "belong together"),
        (
            lambda ours, other, gone: replace(ours, certificate="/nowhere.pem"),
            "FLYWHEEL_TLS_CERT='/nowhere.pem': No such",
        ),
        (lambda ours, other, gone: replace(ours, certificate=ours.key), "holds no PEM certificate"),
        (lambda ours, other, gone: replace(ours, key=other.key), "is not the unencrypted key of FLYWHEEL_TLS_CERT"),
        (lambda ours, other, gone: replace(ours, client_authority=ours.key), "FLYWHEEL_TLS_CLIENT_CA="),
        (lambda ours, other, gone: Security(gone.certificate, gone.key), "expired at 2"),
    ],
)
def test_a_server_does_not_start_with_certificates_that_can_not_work(
    change: Callable[..., Security], words: str, authority: Authority, server_side: Security
) -> None:
    security = change(server_side, authority.sign("other"), authority.sign("gone", days=-1))
    with pytest.raises(InvalidArgument, match=words):
        Server("127.0.0.1:0", security=security)


def test_new_certificates_are_taken_without_a_restart_and_streams_go_on(
    serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    ours = Authority(tmp_path / "before")
    pair = ours.sign("server")
    world = serve(Security(pair.certificate, pair.key))
    old = Security(authority=ours.path)
    stream = generate(world.channel(old), timeout=60)
    next(stream)
    new = authority.sign("fresh")
    Path(new.key).rename(pair.key)  # between the two renames certificate and key do not fit
    assert classify(world.channel(old)) == ""
    Path(new.certificate).rename(pair.certificate)
    assert classify(world.channel(Security(authority=authority.path))) == ""
    assert "not signed" in why(world, old)
    next(stream)
    stream.cancel()


def test_a_client_takes_new_certificates_without_a_restart(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    """The authority and the client's own certificate change while a stream runs."""
    before = Authority(tmp_path / "before")
    pair, mine = before.sign("server"), before.sign("client")
    server = Security(pair.certificate, pair.key, client_authority=before.path)
    world = serve(server)
    channel = world.channel(Security(mine.certificate, mine.key, before.path))
    assert isinstance(channel, SecuredChannel)
    first = channel.current()
    stream = generate(channel, timeout=60)
    next(stream)
    new, client = authority.sign("fresh"), authority.sign("fresh-client")
    for source, target in (
        (new.key, pair.key),
        (new.certificate, pair.certificate),
        (client.key, mine.key),
        (client.certificate, mine.certificate),
    ):
        Path(source).rename(target)
    Path(before.path).write_bytes(Path(authority.path).read_bytes())
    idle = world.channel(Security(authority=authority.path))
    assert _code(lambda: classify(idle)) is grpc.StatusCode.UNAVAILABLE, "a client without a certificate"
    eventually(lambda: channel.current() is not first)
    assert classify(channel) == ""
    next(stream)
    stream.cancel()


def _code(act: Callable[[], object]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        act()
    return caught.value.code()


def test_many_clients_at_once_survive_a_change_of_certificates(serve: Serve, tmp_path: Path) -> None:
    ours = Authority(tmp_path)
    pair = ours.sign("server")
    world = serve(Security(pair.certificate, pair.key))
    client = Security(authority=ours.path)
    failures: list[Exception] = []

    def ask() -> None:
        try:
            for _ in range(8):
                classify(world.channel(client))
        except grpc.RpcError as error:
            failures.append(error)

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    ours.sign("server")
    for thread in asking:
        thread.join()
    assert failures == []
