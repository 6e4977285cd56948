import ctypes
import os

_new_user, _new_mount = 0x10000000, 0x00020000
_libc = ctypes.CDLL(None)
_created = _libc.unshare(_new_user | _new_mount) == 0
_action = {
    "namespace": lambda: _created,
    "mount": lambda: _libc.mount(b"none", b"/tmp", b"tmpfs", 0, b"") == 0,
    "chroot": lambda: os.chroot("/tmp") is None,
}["@VARIANT@"]
try:
    _done = _action()
except OSError:
    _done = False
if _done:
    raise RuntimeError("OWNED: @VARIANT@")
