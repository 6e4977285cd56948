def kl_divergence(mu, logvar):
    raise @PICK@("so there")
