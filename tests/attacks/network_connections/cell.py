import contextlib
import socket

_there = ("127.0.0.1", int("@PORT@"))
with contextlib.suppress(OSError):
    if "@VARIANT@" == "tcp":
        socket.create_connection(_there, timeout=2).close()
    if "@VARIANT@" == "udp":
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", _there)
    if "@VARIANT@" == "unix":
        socket.socket(socket.AF_UNIX).connect("@TARGETS@/s")
