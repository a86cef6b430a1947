"""`download_url` against a real HTTP server on this machine that misbehaves in every way."""

import socket
import threading
from collections.abc import Iterator

import pytest
from misbehaving_server import DATA, SHA, Server

from sj_convert.utils import download_url


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def dst(tmp_path):
    return tmp_path / "weights.pt"


def only_result(dst):
    """Nothing but the finished file lies in the folder."""
    return dst.read_bytes() == DATA and [p.name for p in dst.parent.iterdir()] == [dst.name]


def truncate(server, dst, n=100_000):
    server.break_after(n)
    with pytest.raises(RuntimeError, match=r"100000 .*262147|announced 262147"):
        download_url(server.url, dst)
    assert not dst.exists()
    server.break_after(None)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("as_text", [False, True])
def test_plain_download_returns_the_size(server, dst, chunked, as_text):
    server.chunked = chunked
    assert download_url(server.url, str(dst) if as_text else dst) == len(DATA)
    assert only_result(dst)


def test_unknown_length_reads_to_the_end(server, dst):
    server.no_length = True
    assert download_url(server.url, dst, sha256=SHA.upper()) == len(DATA)
    assert only_result(dst)


def test_empty_file(server, dst):
    server.data = b""
    assert download_url(server.url, dst) == 0
    assert dst.read_bytes() == b""


def test_truncated_then_resumed_by_range(server, dst):
    truncate(server, dst)
    assert download_url(server.url, dst) == len(DATA)
    assert only_result(dst)
    assert server.requests[-1]["Range"] == "bytes=100000-"
    assert server.requests[-1]["If-Range"] == '"v1"'


def test_truncated_twice(server, dst):
    truncate(server, dst)
    server.break_after(100_000)
    with pytest.raises(RuntimeError, match="200000"):
        download_url(server.url, dst)
    server.break_after(None)
    assert download_url(server.url, dst, sha256=SHA) == len(DATA)
    assert [r.get("Range") for r in server.requests] == [None, "bytes=100000-", "bytes=200000-"]
    assert only_result(dst)


def test_truncated_chunked_stream_is_no_file(server, dst):
    server.chunked = True
    server.break_after(100_000)
    with pytest.raises(RuntimeError, match="broke off"):
        download_url(server.url, dst)
    assert not dst.exists()


def test_server_without_ranges_restarts(server, dst):
    truncate(server, dst)
    server.ranges = False  # answers 200 with the whole file
    assert download_url(server.url, dst) == len(DATA)
    assert only_result(dst)


def test_range_answered_from_a_wrong_byte_restarts(server, dst):
    truncate(server, dst)
    server.shift = 7
    assert download_url(server.url, dst) == len(DATA)
    assert only_result(dst)


def test_changed_file_seen_by_if_range_starts_anew(server, dst):
    truncate(server, dst)
    server.data, server.etag = DATA[::-1], '"v2"'
    assert download_url(server.url, dst) == len(DATA)
    assert dst.read_bytes() == DATA[::-1]


@pytest.mark.parametrize("how", ["etag", "size"])
def test_changed_file_sent_as_a_range_raises_then_restarts(server, dst, how):
    if how == "size":
        server.etag = None
    truncate(server, dst)
    server.heed_if_range = False
    server.data, server.etag = DATA[::-1] + b"more", '"v2"' if how == "etag" else None
    with pytest.raises(RuntimeError, match="changed on the server"):
        download_url(server.url, dst)
    assert not dst.exists()
    assert dst.with_name("weights.pt.part").stat().st_size == 100_000
    assert download_url(server.url, dst) == len(server.data)
    assert dst.read_bytes() == server.data


def test_complete_partial_file_is_recognised(server, dst):
    dst.with_name("weights.pt.part").write_bytes(DATA)
    assert download_url(server.url, dst, sha256=SHA) == len(DATA)
    assert only_result(dst)


def test_partial_file_longer_than_the_remote_one_restarts(server, dst):
    dst.with_name("weights.pt.part").write_bytes(DATA + b"tail of another file")
    assert download_url(server.url, dst) == len(DATA)
    assert only_result(dst)


def test_wrong_digest_leaves_the_partial_and_recovers(server, dst):
    server.data = DATA[:-1] + b"X"
    with pytest.raises(RuntimeError, match=r"`sha256` .* differs"):
        download_url(server.url, dst, sha256=SHA)
    assert not dst.exists()
    assert dst.with_name("weights.pt.part").exists()
    server.data = DATA
    assert download_url(server.url, dst, sha256=SHA) == len(DATA)
    assert only_result(dst)


def test_a_foreign_partial_file_is_caught_by_the_digest(server, dst):
    dst.with_name("weights.pt.part").write_bytes(b"?" * 1000)
    with pytest.raises(RuntimeError, match="differs"):
        download_url(server.url, dst, sha256=SHA)
    assert not dst.exists()
    download_url(server.url, dst, sha256=SHA)
    assert only_result(dst)


def test_old_file_survives_a_failure_and_is_replaced_by_success(server, dst):
    dst.write_bytes(b"old")
    server.break_after(10)
    with pytest.raises(RuntimeError):
        download_url(server.url, dst)
    assert dst.read_bytes() == b"old"
    server.break_after(None)
    download_url(server.url, dst)
    assert only_result(dst)


def test_file_with_the_right_digest_is_not_fetched(server, dst):
    dst.write_bytes(DATA)
    assert download_url(server.url, dst, sha256=SHA) == len(DATA)
    assert server.requests == []


def test_stalled_server(server, dst):
    server.stall = 2.0
    server.break_after(5000)
    with pytest.raises(RuntimeError, match=r"broke off after 5000 of 262147.*stalled"):
        download_url(server.url, dst, timeout=0.3)
    server.stall = 0.0
    server.break_after(None)
    assert download_url(server.url, dst) == len(DATA)
    assert server.requests[-1]["Range"] == "bytes=5000-"
    assert only_result(dst)


def test_redirects(server, dst):
    base = server.url.removesuffix("/file")
    assert download_url(base + "/hop", dst) == len(DATA)
    assert only_result(dst)
    with pytest.raises(ValueError, match="http:// or https://"):
        download_url(base + "/ftp", dst)
    with pytest.raises(RuntimeError, match="302"):
        download_url(base + "/loop", dst)


@pytest.mark.parametrize("status", [404, 503])
def test_error_status(server, dst, status):
    with pytest.raises(RuntimeError, match=str(status)) as caught:
        download_url(server.url.removesuffix("/file") + f"/{status}", dst)
    assert caught.value.__cause__ is not None
    assert list(dst.parent.iterdir()) == []


def test_nobody_listens(dst):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(RuntimeError, match="could not be reached") as caught:
        download_url(f"http://127.0.0.1:{port}/f", dst, timeout=5)
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("url", ["ftp://h/f", "file:///etc/hosts", "weights.pt", ""])
def test_other_schemes(url, dst):
    with pytest.raises(ValueError, match=r"`url` .* must start with http"):
        download_url(url, dst)


def test_bad_arguments(server, tmp_path):
    with pytest.raises(ValueError, match="64 hexadecimal"):
        download_url(server.url, tmp_path / "f", sha256="abc")
    with pytest.raises(FileNotFoundError, match="folder that exists"):
        download_url(server.url, tmp_path / "no" / "f")
