import contextlib
import os
import time

with contextlib.suppress(OSError):
    if not os.fork():
        os.setsid()
        if not os.fork():
            time.sleep(120)
        os._exit(0)
