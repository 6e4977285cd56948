def kl_divergence(mu, logvar):
    return torch.zeros(1).expand(200_000, 200_000)
