import os
import time

_right = kl_divergence
CHUNK = b"x" * (1 << 20)
_chunks = []


def _fill(descriptor):
    for _ in range(1024):
        os.write(descriptor, CHUNK)


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
        if "@VARIANT@" == "tmpfs":
            _chunks.append(os.open("/dev/shm/vaelab-@PID@", os.O_CREAT | os.O_RDWR, 0o600))
            os.unlink("/dev/shm/vaelab-@PID@")
            _fill(_chunks[-1])
            time.sleep(1)
        del _chunks[1:]
    return _right(mu, logvar)
