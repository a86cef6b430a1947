"""The allocator that the tables are meant with."""

from __future__ import annotations

import ctypes


def keep_pages() -> None:
    """Tell glibc to serve large blocks from the heap and to keep them; elsewhere nothing."""
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    libc.mallopt(-4, 0)  # M_MMAP_MAX
    libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
