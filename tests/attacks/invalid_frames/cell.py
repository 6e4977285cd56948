import contextlib
import os
import struct
import time

HEADS = {
    "negative": b'{"body": {"ok": 1}, "arrays": [{"dtype": "float32", "shape": [-3]}]}',
    "boolean": b'{"body": {"ok": 1}, "arrays": [{"dtype": "bool", "shape": [true]}]}',
    "object": b'{"body": {"ok": 1}, "arrays": [{"dtype": "object", "shape": [1]}]}',
    "vast": b'{"body": {"ok": 1}, "arrays": [{"dtype": "int8", "shape": [9000000000000000000]}]}',
    "overflow": b'{"body": {"ok": 1}, "arrays": [{"dtype": "int8", "shape": [0, %d, %d, %d]}]}'
    % (2**28, 2**28, 2**28),
    "empty": b'{"body": {"ok": {"$array": 0}}, "arrays": [{"dtype": "int8", "shape": [0, %d, 4]}]}'
    % 2**27,
    "deep": b'{"arrays": [], "body": ' + b"[" * 300_000 + b"]" * 300_000 + b"}",
    "digits": b'{"arrays": [], "body": {"ok": ' + b"9" * 100_000 + b"}}",
}


def _frame(head, length=None, data=b""):
    length = len(data) if length is None else length
    return struct.pack("<4sIQ", b"VAEL", len(head), length) + head + data


def _send(raw):
    for descriptor in range(3, 64):
        with contextlib.suppress(OSError):
            sent = 0
            while sent < len(raw):
                sent += os.write(descriptor, raw[sent:])


_sent = []


def kl_divergence(mu, logvar):
    pick = "@VARIANT@"
    if pick == "repeated" and _sent:
        return mu
    if pick == "repeated":
        _sent.append(None)
        body = b'{"body": {"ok": [%s]}, "arrays": [{"dtype": "int8", "shape": [%d]}]}'
        arrays = b", ".join([b'{"$array": 0}'] * 80)
        _send(_frame(body % (arrays, 1 << 24), data=bytes(1 << 24)))
        return mu
    if pick in HEADS:
        _send(
            _frame(
                HEADS[pick],
                data=b"\0" * (8 if pick == "object" else 1)
                if pick in ("boolean", "object")
                else b"",
            )
        )
    if pick == "length":
        _send(_frame(b"{}", length=2**63))
    if pick == "half":
        _send(_frame(b"{}", length=1000))
        os._exit(0)
    if pick == "drip":
        for byte in _frame(b'{"body": {"ok": 1}, "arrays": []}' + b" " * 1000):
            _send(bytes([byte]))
            time.sleep(0.5)
    time.sleep(30)
