def toy_gradients(mu, sigma, eps, y):
    return float("nan"), float("nan")
