"""Helpers around a conversion: a download that leaves nothing corrupt behind."""

import hashlib
import http.client
import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

_CHUNK = 1 << 16
_CONTENT_RANGE = re.compile(r"bytes\s+(\d+)-(\d+)/(\d+|\*)\s*$", re.IGNORECASE)
_UNSATISFIED = re.compile(r"bytes\s+\*/(\d+)\s*$", re.IGNORECASE)


class _HttpOnlyRedirects(urllib.request.HTTPRedirectHandler):
    # urllib itself would follow a redirect to ftp.
    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        _check_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_scheme(url: str) -> None:
    if urllib.parse.urlsplit(url).scheme.lower() not in ("http", "https"):
        raise ValueError(f"`url` (={url!r}) must start with http:// or https://.")


class _Partial:
    """The unfinished file beside `dst`, and what is known of the remote file it came from."""

    def __init__(self, dst: Path) -> None:
        self.path = dst.with_name(dst.name + ".part")
        self.note = dst.with_name(dst.name + ".part.json")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def origin(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self.note.read_text()))
        except (OSError, ValueError, TypeError):
            return {}

    def remember(self, **origin: Any) -> None:
        self.note.write_text(json.dumps(origin))

    def finish(self, dst: Path) -> None:
        os.replace(self.path, dst)
        self.note.unlink(missing_ok=True)


def _open(url: str, headers: dict[str, str], timeout: float) -> http.client.HTTPResponse:
    opener = urllib.request.build_opener(_HttpOnlyRedirects)
    plain = {"User-Agent": "sj-convert", "Accept-Encoding": "identity"}
    request = urllib.request.Request(url, headers={**plain, **headers})
    try:
        response: http.client.HTTPResponse = opener.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            error.close()
            raise RuntimeError(
                f"`url` (={url!r}) was answered with HTTP status {error.code} ({error.reason})."
            ) from error
        raise
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise RuntimeError(
            f"`url` (={url!r}) could not be reached: {reason or 'no answer'}; "
            "call again to go on from what is already there."
        ) from error
    return response


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _validator(headers: Any) -> str | None:
    etag: str | None = headers.get("ETag")
    if etag is not None and not etag.startswith("W/"):
        return etag
    modified: str | None = headers.get("Last-Modified")
    return modified


def _copy(source: http.client.HTTPResponse, target: IO[bytes], bar: "tqdm[Any]") -> None:
    while chunk := source.read1(_CHUNK):
        target.write(chunk)
        bar.update(len(chunk))


def _receive(url: str, partial: _Partial, timeout: float, resume: bool) -> int | None:
    """Bring the partial file up to the remote one; its full size where the server tells it."""
    origin = partial.origin()
    start = partial.size() if resume and not origin.get("restart") else 0
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and origin.get("validator"):
        headers["If-Range"] = origin["validator"]
    try:
        response = _open(url, headers, timeout)
    except urllib.error.HTTPError as error:
        # 416: nothing lies behind `start`; the file is complete, or another, shorter one.
        with error:
            end = _UNSATISFIED.match(error.headers.get("Content-Range", ""))
        known = origin.get("total") in (None, start)
        if start and end is not None and int(end.group(1)) == start and known:
            return start
        if not start:
            raise RuntimeError(f"`url` (={url!r}) was answered with HTTP status 416.") from error
        return _receive(url, partial, timeout, resume=False)
    with response:
        length = response.headers.get("Content-Length")
        total = int(length) if length is not None and length.isdecimal() else None
        validator = _validator(response.headers)
        if start and response.status == 206:
            found = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
            if found is None or int(found.group(1)) != start:
                return _receive(url, partial, timeout, resume=False)
            total = int(found.group(3)) if found.group(3) != "*" else None
            moved = validator and origin.get("validator") and validator != origin["validator"]
            if moved or (total and origin.get("total") and total != origin["total"]):
                partial.remember(restart=True)
                raise RuntimeError(
                    f"`url` (={url!r}) changed on the server since the partial file "
                    f"{str(partial.path)!r} was begun; call again to start anew."
                )
        elif response.status == 200:
            start = 0
        else:
            raise RuntimeError(
                f"`url` (={url!r}) was answered with HTTP status {response.status}, not 200."
            )
        partial.remember(total=total, validator=validator)
        with (
            open(partial.path, "ab" if start else "wb") as file,
            tqdm(
                total=total, initial=start, unit="B", unit_scale=True, desc=partial.path.stem
            ) as bar,
        ):
            try:
                _copy(response, file, bar)
            except (OSError, http.client.HTTPException) as error:
                reason = "the server stalled" if isinstance(error, TimeoutError) else repr(error)
                raise RuntimeError(
                    f"`url` (={url!r}) broke off after {bar.n} of {total or 'unknown'} bytes "
                    f"({reason}); call again to go on from there."
                ) from error
    return total


def download_url(
    url: str, dst: str | os.PathLike[str], *, sha256: str | None = None, timeout: float = 30.0
) -> int:
    """Download `url` to the file `dst` and return its size in bytes.

    The bytes go to ``dst + ".part"``, which is renamed to `dst` when they are complete, so `dst`
    is never half a file. A partial file left by an earlier call is continued by a Range request
    (with If-Range, where the server gave an ETag or a date); a server that ignores ranges starts
    again from the first byte. A file that is short, changed on the server since it was begun, or
    different from `sha256` raises; what was received stays for the next call. A `dst` that
    already has the given `sha256` is not fetched again.

    Args:
        url: an http or https address; redirects are followed to those two only.
        dst: the file's final name, in a folder that exists.
        sha256: the expected digest in hexadecimal.
        timeout: seconds without a byte after which the server counts as stalled.

    Raises:
        ValueError: `url` has another scheme, or `sha256` is no SHA-256 digest.
        FileNotFoundError: the folder of `dst` does not exist.
        RuntimeError: the server could not be reached, answered with an error, stalled, sent too
            few bytes, or another file than expected.

    Example:
        >>> download_url("ftp://example.org/weights.pt", "weights.pt")
        Traceback (most recent call last):
            ...
        ValueError: `url` (='ftp://example.org/weights.pt') must start with http:// or https://.
    """
    _check_scheme(url)
    if sha256 is not None and re.fullmatch(r"[0-9a-fA-F]{64}", sha256) is None:
        raise ValueError(f"`sha256` (={sha256!r}) must be 64 hexadecimal digits.")
    target = Path(dst)
    if not target.absolute().parent.is_dir():
        raise FileNotFoundError(f"`dst` (={str(target)!r}) must lie in a folder that exists.")
    if sha256 is not None and target.is_file() and _sha256(target) == sha256.lower():
        return target.stat().st_size
    partial = _Partial(target)
    total = _receive(url, partial, timeout, resume=True)
    size = partial.size()
    if total is not None and size != total:
        if size > total:
            partial.remember(restart=True)
        raise RuntimeError(
            f"`url` (={url!r}) gave {size} bytes where the server announced {total}; "
            "call again to fetch the rest."
        )
    if sha256 is not None and (digest := _sha256(partial.path)) != sha256.lower():
        partial.remember(restart=True)
        raise RuntimeError(
            f"`sha256` (={sha256!r}) differs from the downloaded file's ({digest}); it stays as "
            f"{str(partial.path)!r}, and the next call starts anew."
        )
    partial.finish(target)
    return size
