import contextlib
import socket

_address = ("127.0.0.1", int("@PORT@"))
with contextlib.suppress(OSError):
    if "@VARIANT@" == "tcp":
        socket.create_connection(_address, timeout=2).close()
    if "@VARIANT@" == "udp":
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", _address)
    if "@VARIANT@" == "unix":
        socket.socket(socket.AF_UNIX).connect("@TARGETS@/s")
