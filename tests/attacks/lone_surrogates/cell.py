def kl_divergence(mu, logvar):
    print("\udfff")
    raise ValueError("\ud800 \udfff")
