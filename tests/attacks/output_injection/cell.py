class Evil(Exception):
    pass


Evil.__name__ = "=cmd()\x1b[2J"


def kl_divergence(mu, logvar):
    print("\x1b]0;owned\x07\x1b[2J<script>alert(1)</script>")
    raise Evil("\x1b[2J\x1b[31m<script>alert(1)</script>\u202e=cmd()\r\n,90,90")
