"""Models of `10_loss_study` for tests of their methods, with known maps in place of their parts."""

from autograder.checks.shared.parts import model_or_bare
from autograder.checks.shared.wiring import LATENTS, KnownVae
from autograder.protocol.remote import RemoteObject, Submission


def any_vae(
    submission: Submission, latent_dim: int = LATENTS, channels: int = 1, size: int = 28
) -> RemoteObject:
    """Make a model for its methods alone: `__init__` may fail."""
    sizes = {"in_channels": channels, "size": size, "latent_dim": latent_dim}
    return model_or_bare(submission, "VAE", *sizes.values(), **sizes)


def known_vae(
    submission: Submission, channels: int = 1, size: int = 28
) -> tuple[RemoteObject, KnownVae]:
    """Make a model for images of this size, with known maps in place of its parts."""
    vae = any_vae(submission, LATENTS, channels, size)
    return vae, KnownVae(vae, (channels, size, size), layers=False)
