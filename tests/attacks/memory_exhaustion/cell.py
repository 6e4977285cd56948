import ctypes
import os
import time

_right = kl_divergence
CHUNK = b"x" * (1 << 20)
_chunks = []


def _fill(descriptor):
    for _ in range(1024):
        os.write(descriptor, CHUNK)


def _in_pipes(count):
    """Move 64 KiB into each of `count` pipes; a pipe can keep 512 times as much with huge pages."""
    libc, kept = ctypes.CDLL(None, use_errno=True), []
    for _ in range(count):
        kept.append(os.pipe())
        content = ctypes.create_string_buffer(1 << 16)
        vector = (ctypes.c_size_t * 2)(ctypes.addressof(content), 1 << 16)
        if libc.vmsplice(kept[-1][1], vector, 1, 0) <= 0:
            raise OSError(ctypes.get_errno(), "vmsplice")
    return kept


def kl_divergence(mu, logvar):
    if not _chunks:
        _chunks.append(None)
        if "@VARIANT@" == "one":
            for _ in range(1024):
                _chunks.append(bytearray(CHUNK))
            time.sleep(1)
        if "@VARIANT@" == "many":
            for _ in range(8):
                if not os.fork():
                    kept = [bytearray(CHUNK) for _ in range(128)]
                    time.sleep(2)
                    os._exit(len(kept) % 2)
            time.sleep(2)
        if "@VARIANT@" == "memfd":
            _chunks.append(os.memfd_create("hidden"))
            _fill(_chunks[-1])
        if "@VARIANT@" == "pipes":
            _chunks.append(_in_pipes(48))
        if "@VARIANT@" == "tmpfs":
            _chunks.append(os.open("/dev/shm/vaelab-@PID@", os.O_CREAT | os.O_RDWR, 0o600))
            os.unlink("/dev/shm/vaelab-@PID@")
            _fill(_chunks[-1])
            time.sleep(1)
        del _chunks[1:]
    return _right(mu, logvar)
