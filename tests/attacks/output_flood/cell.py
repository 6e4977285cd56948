import os


def kl_divergence(mu, logvar):
    for _ in range(1200):
        chunk = b"x" * (1 << 20)
        while chunk:
            chunk = chunk[os.write(1, chunk) :]
