"""Known maps for an encoder and a decoder of 28 × 28 images, so that what joins them is judged.

The encoder's stand-in reads mu and log σ from the first pixels of an image, where they stand as
(value + 8) / 16: any posterior can be asked for, and every pixel stays in [0, 1].
"""

import torch

from autograder.submission import Affine, RemoteObject

PIXELS = 28 * 28
IMAGE = (1, 28, 28)
RANGE, SHIFT = 16.0, 8.0


def with_posterior(mu: torch.Tensor, logsigma: torch.Tensor) -> torch.Tensor:
    """Images (N, 1, 28, 28) from which the stand-in for the encoder reads mu and logsigma."""
    shown = (torch.cat([mu, logsigma], 1) + SHIFT) / RANGE
    rest = torch.full((len(mu), PIXELS - shown.shape[1]), 0.9)
    return torch.cat([shown, rest], 1).unflatten(1, IMAGE)


def plug_encoder(vae: RemoteObject, latent_dim: int) -> None:
    """Let a model's encoder read mu and logsigma from the pixels."""
    pixels = RANGE * torch.eye(PIXELS)
    vae.plug(
        "encoder",
        Affine([pixels[:, :latent_dim]], bias=-SHIFT),
        Affine([pixels[:, latent_dim : 2 * latent_dim]], bias=-SHIFT),
    )


def plug_blind_decoder(vae: RemoteObject, latent_dim: int) -> None:
    """Let a model's decoder give grey for every code."""
    vae.plug("decoder", Affine([torch.zeros(latent_dim, PIXELS)], IMAGE, bias=0.5))
