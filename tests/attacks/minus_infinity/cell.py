def toy_gradients(mu, sigma, eps, y):
    return float("-inf"), float("-inf")
