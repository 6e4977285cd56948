"""Small models for the gallery, trained in seconds on the embedded digits.

They are examples to draw, not the course's solutions: torch's own distributions do the work.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from vae_utils.data import ImageSet, load_dataset, make_loader
from vae_utils.history import History
from vae_utils.training import make_adam, seed_everything

PIXELS = 28 * 28
BATCH = 64

Condition = Callable[[Tensor, Tensor], Tensor]
Step = Callable[[Tensor, Tensor], dict[str, Tensor]]


class SmallVAE(nn.Module):
    """A fully connected VAE; with `condition_dim` it is conditional."""

    def __init__(self, latent_dim: int, condition_dim: int = 0, hidden: int = 256) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.to_posterior = _two_layers(PIXELS + condition_dim, hidden, 2 * latent_dim)
        self.to_logits = _two_layers(latent_dim + condition_dim, hidden, PIXELS)

    def encoder(self, x: Tensor, *condition: Tensor) -> tuple[Tensor, Tensor]:
        """Give mu and logvar, each `(N, Z)`."""
        mu, logvar = self.to_posterior(torch.cat([x.flatten(1), *condition], 1)).chunk(2, dim=1)
        return mu, logvar

    def decoder(self, z: Tensor, *condition: Tensor) -> Tensor:
        """Give images `(N, 1, 28, 28)`."""
        logits = self.to_logits(torch.cat([z, *condition], 1))
        return torch.sigmoid(logits).view(-1, 1, 28, 28)

    def sample(self, num_samples: int) -> Tensor:
        """Draw images of zeros and ones, `(num_samples, 1, 28, 28)`."""
        return torch.bernoulli(self.decoder(torch.randn(num_samples, self.latent_dim)))

    def losses(self, x: Tensor, *condition: Tensor) -> dict[str, Tensor]:
        """Give the negative ELBO and its two terms, in nats, means over the batch."""
        mu, logvar = self.encoder(x, *condition)
        posterior = Normal(mu, torch.exp(logvar / 2))
        reconstruction = self.decoder(posterior.rsample(), *condition)
        bce = F.binary_cross_entropy(reconstruction, x, reduction="sum") / len(x)
        kl = kl_divergence(posterior, Normal(0.0, 1.0)).sum() / len(x)
        return {"loss": bce + kl, "reconstruction": bce, "kl": kl}


class SmallVQVAE(nn.Module):
    """A convolutional VQ-VAE: 7 × 7 places, each one of K code vectors."""

    def __init__(self, num_embeddings: int = 64, embedding_dim: int = 8) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, embedding_dim, 1),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(embedding_dim, 16, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1),
            nn.Sigmoid(),
        )
        self.codebook = nn.Parameter(0.5 * torch.randn(num_embeddings, embedding_dim))

    def start_from(self, x: Tensor) -> None:
        """Begin with the encoder's outputs as code vectors, so that few are left unused."""
        with torch.no_grad():
            places = self.encoder(x).movedim(1, -1).flatten(0, 2)
            self.codebook.copy_(places[torch.randperm(len(places))[: len(self.codebook)]])

    def nearest(self, outputs: Tensor) -> Tensor:
        """Give the index of the code vector nearest to each place, `(N, 7, 7)`."""
        places = outputs.movedim(1, -1)
        return torch.cdist(places.flatten(0, 2), self.codebook).argmin(1).view(places.shape[:-1])

    def reconstruct(self, x: Tensor) -> Tensor:
        """Encode, quantize, decode."""
        quantized = self.codebook[self.nearest(self.encoder(x))].movedim(-1, 1)
        return torch.as_tensor(self.decoder(quantized))

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        """Give the loss, and the squared error of the reconstruction, per pixel."""
        outputs = self.encoder(x)
        quantized = self.codebook[self.nearest(outputs)].movedim(-1, 1)
        towards_each_other = F.mse_loss(quantized, outputs.detach()) + 0.25 * F.mse_loss(
            outputs, quantized.detach()
        )
        straight_through = outputs + (quantized - outputs).detach()
        error = F.mse_loss(self.decoder(straight_through), x)
        return {"loss": error + towards_each_other, "reconstruction": error}


@dataclass(frozen=True)
class Trained:
    """What the gallery draws.

    Attributes:
        images: `(N, 1, 28, 28)` digits that no model has seen, in [0, 1].
        labels: `(N,)`.
        train_images: `(M, 1, 28, 28)`, what the models have seen.
        train_labels: `(M,)`.
        plane: a VAE with two latents.
        vae: a VAE with 15 latents.
        history: its losses, training and validation.
        by_class: a VAE conditioned on the class.
        by_quarter: a VAE conditioned on the lower left quarter.
        baseline: a network that maps the quarter to one image.
        denoiser: a network that maps a noisy image to a clean one.
        vq: a VQ-VAE.
    """

    images: Tensor
    labels: Tensor
    train_images: Tensor
    train_labels: Tensor
    plane: SmallVAE
    vae: SmallVAE
    history: History
    by_class: SmallVAE
    by_quarter: SmallVAE
    baseline: nn.Module
    denoiser: nn.Module
    vq: SmallVQVAE


def train_all(epochs: float = 1.0, images: int = 9000) -> Trained:
    """Train all models on the embedded digits.

    Args:
        epochs: factor of the epochs of each model; below 1 for a quick look, at least one each.
        images: of the training set, how many to use.

    Example:
        >>> trained = train_all(epochs=0.01, images=64)
        >>> trained.images.shape
        torch.Size([1000, 1, 28, 28])
    """
    seed_everything(0)
    train = load_dataset("mnist", source="embedded", quiet=True).subset(images)
    test = load_dataset("mnist", train=False, source="embedded", quiet=True)
    plane, vae = SmallVAE(latent_dim=2), SmallVAE(latent_dim=15)
    by_class, by_quarter = SmallVAE(5, condition_dim=10), SmallVAE(5, condition_dim=196)
    baseline, denoiser = _to_image(196), nn.Sequential(nn.Flatten(), _to_image(PIXELS))
    vq = SmallVQVAE()
    vq.start_from(train.images[:100] / 255)

    def count(usual: int) -> int:
        return max(1, round(usual * epochs))

    _fit(plane, train, lambda x, y: plane.losses(x), count(12))
    history = _fit(vae, train, lambda x, y: vae.losses(x), count(10), test)
    _fit(by_class, train, lambda x, y: by_class.losses(x, one_hot(y)), count(20))
    _fit(by_quarter, train, lambda x, y: by_quarter.losses(x, quarter(x)), count(8))
    _fit(baseline, train, lambda x, y: _bce(baseline(quarter(x)), x), count(6))
    _fit(denoiser, train, lambda x, y: _bce(denoiser(noisy(x)), x), count(5))
    _fit(vq, train, lambda x, y: vq.losses(x), count(5))
    return Trained(
        images=test.images / 255,
        labels=test.labels,
        train_images=train.images / 255,
        train_labels=train.labels,
        plane=plane,
        vae=vae,
        history=history,
        by_class=by_class,
        by_quarter=by_quarter,
        baseline=baseline,
        denoiser=denoiser,
        vq=vq,
    )


def one_hot(labels: Tensor) -> Tensor:
    """Give the class as a condition, `(N, 10)`."""
    return F.one_hot(labels, 10).float()


def quarter(x: Tensor) -> Tensor:
    """Give the lower left quarter of each image, `(N, 196)`."""
    return x[:, 0, 14:, :14].flatten(1)


def noisy(x: Tensor) -> Tensor:
    """Add Gaussian noise of standard deviation 0.5, and clip to [0, 1]."""
    return (x + 0.5 * torch.randn_like(x)).clamp(0, 1)


def _fit(
    model: nn.Module, train: ImageSet, step: Step, epochs: int, validation: ImageSet | None = None
) -> History:
    optimizer, history = make_adam(model.parameters(), lr=2e-3), History()
    loader = make_loader(train, batch_size=BATCH)
    for _ in range(epochs):
        for x, y in loader:
            losses = step(x, y)
            optimizer.zero_grad()
            losses["loss"].backward()
            optimizer.step()
            history.step(len(x), **losses)
        history.add(**_validation_losses(step, validation))
    model.eval()
    return history


def _validation_losses(step: Step, validation: ImageSet | None) -> dict[str, Tensor]:
    if validation is None:
        return {}
    with torch.no_grad():
        losses = step(validation.images / 255, validation.labels)
    return {f"val_{name}": value for name, value in losses.items()}


def _bce(reconstruction: Tensor, x: Tensor) -> dict[str, Tensor]:
    return {"loss": F.binary_cross_entropy(reconstruction, x, reduction="sum") / len(x)}


def _two_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def _to_image(inputs: int) -> nn.Sequential:
    return nn.Sequential(
        _two_layers(inputs, 256, PIXELS), nn.Sigmoid(), nn.Unflatten(1, (1, 28, 28))
    )
