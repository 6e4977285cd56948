def toy_gradients(mu, sigma, eps, y):
    return torch.empty(0, 2), torch.empty(0, 2)
