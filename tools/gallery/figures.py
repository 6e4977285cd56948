"""The figures of the gallery: the data of each figure, and what it shows.

The docstring of a function is the caption. Its statements are the code on the page.
"""

from collections.abc import Callable
from dataclasses import dataclass

import seaborn
import torch
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix

from tools.gallery.models import Trained, noisy, quarter
from vae_utils import plots
from vae_utils.data import load_dataset, make_loader
from vae_utils.metrics import collect_codes
from vae_utils.plots.style import new_figure, set_title

Compute = Callable[[Trained], Figure | str]


@dataclass(frozen=True)
class Entry:
    """One entry of the gallery.

    Attributes:
        section: The heading above it.
        compute: Computes a figure, or a text, from the trained models.
    """

    section: str
    compute: Compute

    @property
    def name(self) -> str:
        """The name of its PNG file, without the ending."""
        return self.compute.__name__


ENTRIES: list[Entry] = []


def add_entry(section: str) -> Callable[[Compute], Compute]:
    """Return a decorator that adds a function to the gallery, in the order of the file."""

    def add(compute: Compute) -> Compute:
        ENTRIES.append(Entry(section, compute))
        return compute

    return add


@add_entry("Data and training")
def samples(t: Trained) -> Figure:
    """Digits of the test set with their labels."""
    return plots.plot_samples(t.images, t.labels, title="MNIST, test digits")


@add_entry("Data and training")
def samples_fashion(t: Trained) -> Figure:
    """Labels with names."""
    clothes = load_dataset("fashion_mnist", train=False, source="embedded", quiet=True)
    return plots.plot_samples(
        clothes.images, clothes.labels, n=20, title="Fashion-MNIST", class_names=clothes.classes
    )


@add_entry("Data and training")
def samples_with_nan(t: Trained) -> Figure:
    """Errors in images are visible: NaNs in magenta, values outside [0, 1] in the title."""
    broken = 1.3 * t.images[:10]
    broken[2, :, 8:12] = torch.nan
    return plots.plot_samples(broken, title="Images that are not in [0, 1]")


@add_entry("Data and training")
def losses(t: Trained) -> Figure:
    """The KL increases while the reconstruction term decreases. Validation curves are dashed."""
    return plots.plot_losses(
        t.history, threshold=120, title="VAE with 15 latents", y_label="nats per image"
    )


@add_entry("Reconstructions")
def reconstructions(t: Trained) -> Figure:
    """Digits with noise of standard deviation 0.5, and the output of a denoising network."""
    seen = noisy(t.images)
    with torch.no_grad():
        cleaned = t.denoiser(seen)
    return plots.plot_reconstructions(
        {"clean": t.images, "noisy": seen, "denoised": cleaned}, title="Denoising"
    )


@add_entry("Reconstructions")
def variations(t: Trained) -> Figure:
    """Samples of one image's posterior: similar with its variance, different with 20 times that."""
    mu, logvar = t.vae.encoder(t.images[1:2])
    return plots.plot_variations(t.vae.decoder, mu, logvar, scales=(1, 20), original=t.images[1])


@add_entry("Reconstructions")
def prior_samples(t: Trained) -> Figure:
    """New digits, sampled from the prior."""
    return plots.plot_prior_samples(t.vae.decoder, latent_dim=15)


@add_entry("The latent plane")
def latent_space(t: Trained) -> Figure:
    """Posterior means of a VAE with two latents, by class."""
    mu, _ = t.plane.encoder(t.train_images)
    return plots.plot_latent_space(mu, t.train_labels)


@add_entry("The latent plane")
def latent_space_images(t: Trained) -> Figure:
    """The same plane, decoded: each image is at the position of its code."""
    mu, _ = t.plane.encoder(t.train_images)
    return plots.plot_latent_space_images(t.plane.decoder, plots.latent_extent(mu))


@add_entry("The latent plane")
def manifold(t: Trained) -> Figure:
    """The plane at evenly spaced quantiles of the prior: the same density as the samples."""
    return plots.plot_manifold(t.plane.decoder, latent_dim=2)


@add_entry("The latent plane")
def perturbation_strip(t: Trained) -> Figure:
    """One latent changed from its 5 % to its 95 % quantile. The others are 0."""
    return plots.plot_perturbation_strip(t.plane.decoder, latent_dim=2, dim=0)


@add_entry("The latent plane")
def marginal(t: Trained) -> Figure:
    """A histogram of samples of all posteriors, with the circles of the prior."""
    mu, logvar = t.plane.encoder(t.train_images)
    z = mu + torch.exp(logvar / 2) * torch.randn_like(mu)
    return plots.plot_marginal(z, dims=(0, 1))


@add_entry("Many latents")
def embeddings_tsne(t: Trained) -> Figure:
    """Means of 15 latents by t-SNE: neighbours stay together, distances have no meaning."""
    mu, _ = t.vae.encoder(t.images)
    return plots.plot_embeddings(mu, t.labels, method="tsne", title="Posterior means")


@add_entry("Many latents")
def embeddings_pca(t: Trained) -> Figure:
    """The same means by PCA: distances are kept, classes overlap."""
    mu, _ = t.vae.encoder(t.images)
    return plots.plot_embeddings(mu, t.labels, method="pca", title="Posterior means")


@add_entry("Many latents")
def kl_per_dimension(t: Trained) -> Figure:
    """Which latents the model uses, and the KL of each."""
    return plots.plot_kl_per_dimension(*t.vae.encoder(t.images))


@add_entry("Many latents")
def posterior_vs_prior(t: Trained) -> Figure:
    """The mean of all posteriors, and the prior from which the decoder's inputs are sampled."""
    return plots.plot_posterior_vs_prior(*t.vae.encoder(t.images))


@add_entry("Many latents")
def dimension_traversals(t: Trained) -> Figure:
    """One image's code, one latent changed at a time."""
    mu, _ = t.vae.encoder(t.images[:1])
    return plots.plot_dimension_traversals(t.vae.decoder, mu, dims=range(6))


@add_entry("Many latents")
def traversals(t: Trained) -> Figure:
    """Interpolation from one digit to another, on a straight line and on an arc."""
    mu, _ = t.vae.encoder(t.images)
    return plots.plot_traversals(t.vae.decoder, mu[:3], mu[3:6], path="both")


@add_entry("Many latents")
def explore(t: Trained) -> Figure:
    """Sliders in a live notebook. Elsewhere one row of images for each slider."""
    return plots.explore_latent_space(t.vae.decoder, latent_dim=15, dims=[0, 1, 2])


@add_entry("Conditions")
def class_conditional(t: Trained) -> Figure:
    """Each class as the condition. All digits in a row have the same z and a similar style."""
    return plots.plot_class_conditional(t.by_class.decoder, latent_dim=5)


@add_entry("Conditions")
def quarter_completions(t: Trained) -> Figure:
    """From a quarter of the digit: one image of the baseline, several of the conditional VAE."""
    given = quarter(t.images[:6])
    z = torch.randn(6, 5, 5)
    with torch.no_grad():
        guess = t.baseline(given)
        drawn = torch.stack([t.by_quarter.decoder(z[:, s], given) for s in range(5)], dim=1)
    return plots.plot_quarter_completions(given, guess, drawn, t.images[:6])


@add_entry("Codebooks")
def vq_reconstructions(t: Trained) -> Figure:
    """Digits, encoded as 49 indices of a codebook with 64 vectors."""
    with torch.no_grad():
        rebuilt = t.vq.reconstruct(t.images[:10])
    return plots.plot_reconstructions(
        {"input": t.images[:10], "VQ-VAE": rebuilt}, title="Through a codebook"
    )


@add_entry("Codebooks")
def codebook(t: Trained) -> Figure:
    """The code vectors by how often they are used, and the encoder's outputs."""
    with torch.no_grad():
        outputs = t.vq.encoder(t.images)
        indices = t.vq.nearest(outputs)
    return plots.plot_codebook(t.vq.codebook, indices, outputs=outputs)


@add_entry("With the names of the ELBO assignment")
def visualize_mnist(t: Trained) -> Figure:
    """The next batch of a loader."""
    digits = load_dataset("mnist", source="embedded", quiet=True)
    return plots.visualize_mnist(make_loader(digits))


@add_entry("With the names of the ELBO assignment")
def visualize_samples(t: Trained) -> Figure:
    """Samples of the Bernoulli likelihood: each pixel is 0 or 1."""
    return plots.visualize_samples(t.vae)


@add_entry("With the names of the ELBO assignment")
def visualize_embeddings(t: Trained) -> Figure:
    """The posterior means of a batch by t-SNE."""
    return plots.visualize_embeddings(t.vae, t.images[:500], t.labels[:500])


@add_entry("With scikit-learn and seaborn")
def confusion(t: Trained) -> Figure:
    """Which digits a linear classifier of the posterior means confuses."""
    codes, labels = collect_codes(t.vae.encoder, make_loader((t.train_images, t.train_labels)))
    test_codes, test_labels = collect_codes(t.vae.encoder, make_loader((t.images, t.labels)))
    classifier = LogisticRegression(max_iter=1000).fit(codes.numpy(), labels.numpy())
    counts = confusion_matrix(test_labels.numpy(), classifier.predict(test_codes.numpy()))
    figure, axes = new_figure(height=5.4)
    seaborn.heatmap(counts, annot=True, fmt="d", cmap="Blues", cbar=False, ax=axes[0, 0])
    axes[0, 0].set(xlabel="predicted class", ylabel="class")
    set_title(axes[0, 0], f"Linear classifier of 15 latents ({len(test_labels):,} test digits)")
    return figure
