import os
import tempfile
import time

# Write outside the sandbox if that is possible, otherwise in the temporary folder.
_folder = "@TARGETS@" if os.access("@TARGETS@", os.W_OK) else tempfile.gettempdir()
try:
    open(os.path.join(_folder, "first"), "w").close()
except OSError:
    _folder = tempfile.gettempdir()


def kl_divergence(mu, logvar):
    if "@VARIANT@" == "large":
        with open(os.path.join(_folder, "large"), "wb") as file:
            for _ in range(80):
                file.write(b"x" * (1 << 20))
                file.flush()
    else:
        for number in range(12_000):
            open(os.path.join(_folder, str(number)), "w").close()
    time.sleep(1)
    raise RuntimeError("all written")
