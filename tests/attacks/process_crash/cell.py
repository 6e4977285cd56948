import ctypes
import sys


class Endless:
    def __repr__(self):
        return repr(self)


def kl_divergence(mu, logvar):
    if "@VARIANT@" == "segfault":
        ctypes.string_at(0)
    sys.setrecursionlimit(10**9)
    repr(Endless())
