"""An HTTP server on this machine that misbehaves in every way."""

import hashlib
import re
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DATA = bytes(range(256)) * 1024 + b"end"  # 262147 bytes: no multiple of the chunk
SHA = hashlib.sha256(DATA).hexdigest()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.data = DATA
        self.etag: str | None = '"v1"'
        self.ranges = True  # honour Range
        self.heed_if_range = True
        self.send_at_most: int | None = None  # break the connection after so many body bytes
        self.stall = 0.0
        self.shift = 0  # answer a range from a wrong first byte
        self.chunked = False
        self.no_length = False
        self.requests: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/file"

    def break_after(self, n: int | None) -> None:
        self.send_at_most = n


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        s = self.server
        s.requests.append(dict(self.headers))
        if self.path == "/hop":
            return self.bare(302, Location=s.url)
        if self.path == "/ftp":
            return self.bare(302, Location="ftp://127.0.0.1/file")
        if self.path == "/loop":
            return self.bare(302, Location="/loop")
        if self.path in ("/404", "/503"):
            return self.bare(int(self.path[1:]))
        data, start = s.data, 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        fresh = condition is None or condition == s.etag or not s.heed_if_range
        if asked and s.ranges and fresh:
            start = int(asked.group(1)) + s.shift
            if start >= len(data):
                return self.bare(416, **{"Content-Range": f"bytes */{len(data)}"})
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        if s.etag:
            self.send_header("ETag", s.etag)
        body = data[start:]
        if s.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif not s.no_length:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        cut = body if s.send_at_most is None else body[: s.send_at_most]
        if s.chunked:
            for i in range(0, len(cut), 5000):
                piece = cut[i : i + 5000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if s.send_at_most is None:
                self.wfile.write(b"0\r\n\r\n")
        else:
            self.wfile.write(cut)
        self.wfile.flush()
        if s.stall:
            time.sleep(s.stall)

    def bare(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", "0")
        self.end_headers()
