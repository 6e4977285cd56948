_right = kl_divergence


def kl_divergence(mu, logvar):
    right = _right(mu, logvar)
    return {
        "complex": lambda: right + 1e6j,
        "sparse": right.to_sparse,
        "meta": lambda: right.to("meta"),
    }["@VARIANT@"]()
