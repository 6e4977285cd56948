"""The known mistakes in the sum of a reconstruction term and a KL."""

from autograder.checks.vocabulary import Mistake


def sum_mistakes(what: str, *, sign: str, subtracted: str = "kl_subtracted") -> tuple[Mistake, ...]:
    """Return the mistakes in a loss, the negative ELBO.

    Args:
        what: The sum, for messages: a loss or an ELBO.
        sign: The mistake of a sum with the wrong sign.
        subtracted: The mistake of a KL with the wrong sign.

    Returns:
        Mistakes with formulas of the two terms; each returns a loss.
    """
    start = what[:1].upper() + what[1:]
    return (
        Mistake(
            sign,
            f"{start} has the wrong sign. A loss is small where the model is good; an ELBO is "
            "large.",
            lambda recon, kl: -recon - kl,
        ),
        Mistake(
            subtracted,
            f"The KL has the wrong sign in {what}. A loss is the reconstruction term plus the KL; "
            "an ELBO is the log-likelihood minus the KL.",
            lambda recon, kl: recon - kl,
        ),
        Mistake(
            "recon_sign",
            f"The reconstruction term has the wrong sign in {what}: it is a negative "
            "log-likelihood.",
            lambda recon, kl: kl - recon,
        ),
        Mistake("kl_dropped", f"The KL is not in {what}.", lambda recon, kl: recon),
        Mistake(
            "recon_dropped",
            f"The reconstruction term is not in {what}.",
            lambda recon, kl: kl,
        ),
    )
