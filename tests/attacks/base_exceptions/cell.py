def kl_divergence(mu, logvar):
    raise @VARIANT@("so there")
