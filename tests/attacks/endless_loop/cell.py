import os
import signal
import time


def kl_divergence(mu, logvar):
    while True:
        if "@VARIANT@" == "sleep":
            time.sleep(3600)
        if "@VARIANT@" == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
