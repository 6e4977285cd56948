import os
import signal
import time


def kl_divergence(mu, logvar):
    while True:
        if "@PICK@" == "sleep":
            time.sleep(3600)
        if "@PICK@" == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
