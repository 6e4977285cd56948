def kl_divergence(mu, logvar):
    raise @VARIANT@("raised by the attack")
