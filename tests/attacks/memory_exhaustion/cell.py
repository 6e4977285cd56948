import os
import time

_right = kl_divergence
CHUNK = b"x" * (1 << 20)
_held = []


def _fill(descriptor):
    for _ in range(1024):
        os.write(descriptor, CHUNK)


def kl_divergence(mu, logvar):
    if not _held:
        _held.append(None)
        if "@VARIANT@" == "one":
            for _ in range(1024):
                _held.append(bytearray(CHUNK))
            time.sleep(1)
        if "@VARIANT@" == "many":
            for _ in range(8):
                if not os.fork():
                    kept = [bytearray(CHUNK) for _ in range(128)]
                    time.sleep(2)
                    os._exit(len(kept) % 2)
            time.sleep(2)
        if "@VARIANT@" == "memfd":
            _held.append(os.memfd_create("hidden"))
            _fill(_held[-1])
        if "@VARIANT@" == "tmpfs":
            _held.append(os.open("/dev/shm/vaelab-@PID@", os.O_CREAT | os.O_RDWR, 0o600))
            os.unlink("/dev/shm/vaelab-@PID@")
            _fill(_held[-1])
            time.sleep(1)
        del _held[1:]
    return _right(mu, logvar)
