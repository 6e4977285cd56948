"""Small models for the gallery, trained on the embedded digits.

They are examples for the figures and compute their losses with torch's distributions. They are not
the solutions of the course, but they are similar: keep them out of packages that students' code can
read during grading.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from vae_utils.checkpoints import resume, save_checkpoint
from vae_utils.data import ImageSet, load_dataset, make_loader
from vae_utils.history import History
from vae_utils.training import make_adam, seed_everything

PIXELS = 28 * 28
BATCH = 64

Step = Callable[[Tensor, Tensor], dict[str, Tensor]]


class SmallVAE(nn.Module):
    """A fully connected VAE. With `condition_dim` it is conditional."""

    def __init__(self, latent_dim: int, condition_dim: int = 0, hidden: int = 256) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.to_posterior = _two_layers(PIXELS + condition_dim, hidden, 2 * latent_dim)
        self.to_logits = _two_layers(latent_dim + condition_dim, hidden, PIXELS)

    def encoder(self, x: Tensor, *condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and logvar, each `(N, Z)`."""
        mu, logvar = self.to_posterior(torch.cat([x.flatten(1), *condition], 1)).chunk(2, dim=1)
        return mu, logvar

    def decoder(self, z: Tensor, *condition: Tensor) -> Tensor:
        """Return images `(N, 1, 28, 28)` in [0, 1]."""
        logits = self.to_logits(torch.cat([z, *condition], 1))
        return torch.sigmoid(logits).view(-1, 1, 28, 28)

    def sample(self, num_samples: int) -> Tensor:
        """Sample images of zeros and ones, `(num_samples, 1, 28, 28)`."""
        return torch.bernoulli(self.decoder(torch.randn(num_samples, self.latent_dim)))

    def losses(self, x: Tensor, *condition: Tensor) -> dict[str, Tensor]:
        """Return the negative ELBO and its two terms, in nats, means over the batch."""
        mu, logvar = self.encoder(x, *condition)
        posterior = Normal(mu, torch.exp(logvar / 2))
        reconstruction = self.decoder(posterior.rsample(), *condition)
        bce = F.binary_cross_entropy(reconstruction, x, reduction="sum") / len(x)
        kl = kl_divergence(posterior, Normal(0.0, 1.0)).sum() / len(x)
        return {"loss": bce + kl, "reconstruction": bce, "kl": kl}


class SmallVQVAE(nn.Module):
    """A convolutional VQ-VAE: 7 × 7 positions, each with one of K code vectors."""

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
        """Initialise the code vectors with outputs of the encoder, so that most are used."""
        with torch.no_grad():
            places = self.encoder(x).movedim(1, -1).flatten(0, 2)
            self.codebook.copy_(places[torch.randperm(len(places))[: len(self.codebook)]])

    def nearest(self, outputs: Tensor) -> Tensor:
        """Return the index of the nearest code vector for each position, `(N, 7, 7)`."""
        places = outputs.movedim(1, -1)
        return torch.cdist(places.flatten(0, 2), self.codebook).argmin(1).view(places.shape[:-1])

    def reconstruct(self, x: Tensor) -> Tensor:
        """Encode, quantize, decode."""
        quantized = self.codebook[self.nearest(self.encoder(x))].movedim(-1, 1)
        return torch.as_tensor(self.decoder(quantized))

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        """Return the loss, and the mean squared error of the reconstruction per pixel."""
        outputs = self.encoder(x)
        quantized = self.codebook[self.nearest(outputs)].movedim(-1, 1)
        codebook_and_commitment = F.mse_loss(quantized, outputs.detach()) + 0.25 * F.mse_loss(
            outputs, quantized.detach()
        )
        straight_through = outputs + (quantized - outputs).detach()
        error = F.mse_loss(self.decoder(straight_through), x)
        return {"loss": error + codebook_and_commitment, "reconstruction": error}


@dataclass(frozen=True)
class Trained:
    """The data and the trained models of the gallery.

    Attributes:
        images: `(N, 1, 28, 28)` test digits in [0, 1].
        labels: `(N,)`, their classes.
        train_images: `(M, 1, 28, 28)`, training digits in [0, 1].
        train_labels: `(M,)`, their classes.
        plane: A VAE with two latents.
        vae: A VAE with 15 latents.
        history: Losses of `vae`, training and validation.
        by_class: A VAE conditioned on the class.
        by_quarter: A VAE conditioned on the lower left quarter.
        baseline: A network that maps the quarter to one image.
        denoiser: A network that maps a noisy image to a clean one.
        vq: A VQ-VAE.
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


def train_all(epochs: float = 1.0, images: int = 9000, folder: Path | None = None) -> Trained:
    """Train all models on the embedded digits.

    Args:
        epochs: Factor for the number of epochs of each model. Each model has at least one epoch.
        images: Number of training images.
        folder: Where to save the models after each epoch. Saved models are used again, and an
            interrupted training continues. None: nothing is saved.

    Returns:
        The trained models and their data.

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

    def fit(
        name: str, model: nn.Module, step: Step, n_epochs: int, validation: ImageSet | None = None
    ) -> History:
        path = folder / f"{name}.pt" if folder else None
        print(f"model {name}: {n_epochs} epochs", flush=True)
        return _fit(model, train, step, max(1, round(n_epochs * epochs)), validation, path)

    fit("plane", plane, lambda x, y: plane.losses(x), 12)
    history = fit("vae", vae, lambda x, y: vae.losses(x), 10, test)
    fit("by_class", by_class, lambda x, y: by_class.losses(x, one_hot(y)), 20)
    fit("by_quarter", by_quarter, lambda x, y: by_quarter.losses(x, quarter(x)), 8)
    fit("baseline", baseline, lambda x, y: _bce(baseline(quarter(x)), x), 6)
    fit("denoiser", denoiser, lambda x, y: _bce(denoiser(noisy(x)), x), 5)
    fit("vq", vq, lambda x, y: vq.losses(x), 5)
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
    """Return the class as a condition, one-hot `(N, 10)`."""
    return F.one_hot(labels, 10).float()


def quarter(x: Tensor) -> Tensor:
    """Return the lower left quarter of each image, `(N, 196)`."""
    return x[:, 0, 14:, :14].flatten(1)


def noisy(x: Tensor) -> Tensor:
    """Add Gaussian noise of standard deviation 0.5, and clip to [0, 1]."""
    return (x + 0.5 * torch.randn_like(x)).clamp(0, 1)


def _fit(
    model: nn.Module,
    train: ImageSet,
    step: Step,
    epochs: int,
    validation: ImageSet | None,
    path: Path | None,
) -> History:
    """Train a model, or continue its training if `path` is a checkpoint. Return its losses."""
    optimizer, history = make_adam(model.parameters(), lr=2e-3), History()
    loader = make_loader(train, batch_size=BATCH)
    done = resume(path, model, optimizer, history, loader) if path else 0
    for epoch in range(done, epochs):
        for x, y in loader:
            losses = step(x, y)
            optimizer.zero_grad()
            losses["loss"].backward()
            optimizer.step()
            history.step(len(x), **losses)
        history.add(**_validation_losses(step, validation))
        if path:
            save_checkpoint(path, model, optimizer, history, loader, epoch=epoch + 1)
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
