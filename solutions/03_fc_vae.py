# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 03 · A variational autoencoder
#
# *Difficulty: ●●●○○ · about 90 minutes · {{total}} points*
#
# An autoencoder learns a code for each image. But it learns nothing about the places between these
# codes: if you decode a random code, you usually do not get a digit. A **variational** autoencoder
# (VAE) solves this problem. Its encoder outputs a small Gaussian instead of a point, and the loss
# pulls all these Gaussians towards a standard normal. After training, you can sample a latent
# vector $z$ from the standard normal and decode it. The result is a new digit.
#
# You will build a VAE from fully connected layers, train it in under a minute, and look at what it
# has learned.
#
# | what is checked | limit |
# | --- | --- |
# | trainable parameters | at most {{budget}} |
# | training loss, in nats per image | below {{below}} within {{epochs}} epochs |
# | latent size Z | 12 to 18 works well |
#
# **How to work.** Fill in each `TODO` and run the cell. Then run the `check` below it. The check
# tells you what is correct and what is not. Cells without a `TODO` are complete. You may add your
# own cells anywhere.

# %% setup="imports"
import torch
import torch.nn.functional as F
from torch import nn

from autograder import notebook_checks
from vae_utils import (
    count_parameters,
    load_dataset,
    make_loader,
    model_summary,
    plot_embeddings,
    plot_losses,
    plot_reconstructions,
    plot_samples,
    plot_variations,
    progress,
    seed_everything,
)

check = notebook_checks("03_fc_vae")

# %% [markdown]
# ## The data
#
# MNIST contains grey images of digits, 28 × 28 pixels each, with values in [0, 1]. The course
# includes a small part of it. Set `source = "full"` for all 60,000 training images (they are
# downloaded once).

# %% run="data"
seed_everything(0)
source = "auto"
train_set = load_dataset("mnist", source=source)
test_set = load_dataset("mnist", train=False, source=source)
plot_samples(train_set.images, train_set.labels, title="MNIST, as the model sees it")

# %% [markdown]
# ## The model
#
# For an image $x$, the **encoder** outputs the mean $\mu$ and the log-variance $\log\sigma^2$ of a
# Gaussian over latent vectors $z$, the approximate posterior:
#
# $$q_\phi(z \mid x) = \mathcal{N}\big(z;\ \mu,\ \mathrm{diag}(\sigma^2)\big).$$
#
# The layer outputs $\log\sigma^2$ and not $\sigma^2$, because a log-variance can have any sign. The
# **decoder** maps a latent vector $z$ to the probability of white for each pixel,
# $p_\theta(x \mid z)$.
#
# **Reparameterization.** A random sample has no gradient. So sample $\varepsilon$ from a fixed
# distribution, and then scale and shift it. Now gradients reach $\mu$ and $\sigma$ (Kingma &
# Welling 2014, section 2.4):
#
# $$z = \mu + \sigma \odot \varepsilon, \qquad \varepsilon \sim \mathcal{N}(0, I).$$
#
# **The loss** is the negative evidence lower bound (Kingma & Welling 2014, equation 3). It is
# averaged over the images of a batch. The prior is $p(z) = \mathcal{N}(0, I)$:
#
# $$\frac{1}{N} \sum_{n=1}^{N} \Big[
# \underbrace{-\log p_\theta(x_n \mid z_n)}_{\text{BCE, summed over pixels}} +
# \underbrace{D_{KL}\big(q_\phi(z \mid x_n)\,\|\,p(z)\big)}_{\text{summed over latents}}
# \Big].$$
#
# MNIST's pixels are grey values. For them, the cross-entropy is the mean of $-\log p$ over
# black-and-white images whose pixels are white with these probabilities. It is not a log-likelihood
# of the grey values themselves: `10_loss_study` says why.
#
# For two Gaussians the second term has a closed form (the same paper, appendix B):
#
# $$D_{KL} = -\tfrac12 \sum_{j=1}^{Z} \big(1 + \log\sigma_j^2 - \mu_j^2 - \sigma_j^2\big).$$
#
# <details><summary>A hint for each TODO</summary>
#
# - **encoder**: use an `nn.Sequential` of `nn.Linear` and an activation, from 784 to `hidden_dim`.
#   The layers for mu and logvar are plain `nn.Linear` layers. An activation after them would
#   exclude values that you need.
# - **decoder**: the reverse, from Z to 784. Which activation keeps the output in [0, 1]?
#   `nn.Unflatten(1, ...)` reshapes rows to images.
# - **reparameterize**: how do you compute σ from log σ²? Sample one ε for *each* number in z.
# - **loss_function**: `F.binary_cross_entropy` averages by default. To test your KL, use one latent
#   with μ = 2 and σ = 1: the KL is 2.
# </details>


# %% solution="my_vae"
class myVAE(nn.Module):
    """A fully connected variational autoencoder for 28 × 28 images.

    Each layer has its own weights.

    Args:
        hidden_dim: Number of hidden features, H, of the encoder and also of the decoder.
        latent_dim: Size of the latent vector, Z.
        conditional_vec_dim: Always 0 here. The next assignment uses it.

    Attributes:
        encoder: Maps image rows (N, 784) to hidden features (N, H).
        mu_layer: Maps hidden features to means, (N, Z).
        logvar_layer: Maps hidden features to log-variances log σ², (N, Z).
        decoder: Maps latent vectors (N, Z) to images (N, 1, 28, 28) with values in [0, 1].
    """

    def __init__(self, hidden_dim, latent_dim, conditional_vec_dim=0):
        super().__init__()
        self.latent_dim = latent_dim

        # TODO encoder: an nn.Sequential, and one linear layer each for mu and logvar.
        ### BEGIN SOLUTION
        self.encoder = nn.Sequential(nn.Linear(28 * 28, hidden_dim), nn.ReLU())
        self.mu_layer = nn.Linear(hidden_dim, latent_dim)
        self.logvar_layer = nn.Linear(hidden_dim, latent_dim)
        ### END SOLUTION

        # TODO decoder: an nn.Sequential that ends in images.
        ### BEGIN SOLUTION
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, 28 * 28),
            nn.Sigmoid(),
            nn.Unflatten(1, (1, 28, 28)),
        )
        ### END SOLUTION

    def reparameterize(self, mu, logvar):
        """Sample z from N(mu, exp(logvar)), so that gradients reach mu and logvar.

        Args:
            mu: Means, (N, Z).
            logvar: Log-variances log σ², (N, Z).

        Returns:
            One latent vector z for each row, (N, Z), on mu's device.
        """
        # TODO reparameterize
        ### BEGIN SOLUTION
        sigma = torch.exp(0.5 * logvar)
        return mu + sigma * torch.randn_like(sigma)
        ### END SOLUTION

    def forward(self, x, c=None):
        """Encode the images, sample z and decode it.

        Calls `self.encoder`, `self.mu_layer`, `self.logvar_layer`, `self.reparameterize` and
        `self.decoder`.

        Args:
            x: Images, (N, 1, 28, 28), in [0, 1].
            c: Always None here.

        Returns:
            The tuple (x_hat, mu, logvar): reconstructions (N, 1, 28, 28), means (N, Z),
            log-variances (N, Z).
        """
        # TODO forward
        ### BEGIN SOLUTION
        hidden = self.encoder(x.flatten(1))
        mu, logvar = self.mu_layer(hidden), self.logvar_layer(hidden)
        z = self.reparameterize(mu, logvar)
        return self.decoder(z), mu, logvar
        ### END SOLUTION

    def loss_function(self, x_hat, x, mu, logvar):
        """Compute the negative ELBO in nats, averaged over the images of the batch.

        Args:
            x_hat: Reconstructions in [0, 1], (N, 1, 28, 28).
            x: Images in [0, 1], (N, 1, 28, 28).
            mu: Means, (N, Z).
            logvar: Log-variances log σ², (N, Z).

        Returns:
            A scalar: BCE summed over pixels plus KL summed over latents, averaged over images.
        """
        # TODO loss_function
        ### BEGIN SOLUTION
        recon = F.binary_cross_entropy(x_hat, x, reduction="sum")
        kl = -0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp())
        return (recon + kl) / len(x)
        ### END SOLUTION


# %% [markdown]
# ### Check each part
#
# The grader tests each part alone, with known values as its inputs. So an error in one part does
# not cost points in another part. Correct the class above, run its cell again, and check again.

# %% test="encoder"
check("encoder")

# %% test="decoder"
check("decoder")

# %% test="reparameterize"
check("reparameterize")

# %% test="reconstruction"
check("reconstruction")

# %% test="kl_divergence"
check("kl_divergence")

# %% test="forward"
check("forward")

# %% [markdown]
# ## Training
#
# Choose the sizes and an optimizer. Larger hidden layers learn more in each epoch, but the number
# of parameters is limited. If the latent size is too small, the loss stays above {{below}}, even
# with more epochs.

# %% solution="settings"
seed_everything(0)

# TODO settings
### BEGIN SOLUTION
hidden_dim = 400
latent_dim = 15
batch_size = 64
n_epochs = 10
### END SOLUTION

model = myVAE(hidden_dim, latent_dim)

# TODO optimizer: Adam, over the model's parameters.
### BEGIN SOLUTION
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
### END SOLUTION

# %% run="summary"
model_summary(model, (1, 28, 28))
print(f"{count_parameters(model):,} trainable parameters")

# %% test="parameter_budget"
check("parameter_budget")


# %% setup="train_step"
def train_step(model, optimizer, x):
    """Update the parameters once.

    Args:
        model: A `myVAE`.
        optimizer: The optimizer of its parameters.
        x: Images, (N, 1, 28, 28), in [0, 1].

    Returns:
        The tuple (loss, x_hat, mu, logvar): the loss before the update, and the outputs of the
        model that it was computed from.
    """
    x_hat, mu, logvar = model(x)
    loss = model.loss_function(x_hat, x, mu, logvar)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss, x_hat, mu, logvar


# %% [markdown]
# The loop below is the complete training. It stores one number for each epoch: the mean loss per
# image.
#
# - **Good**: the loss falls below {{below}}, and then continues to fall slowly. With latent sizes
#   of 12 to 18 this takes about 5 to 8 epochs.
# - **Bad**: the loss starts near 200 and stays there. The decoder ignores the latent vector.

# %% run="train"
train_losses = []
loader = make_loader(train_set, batch_size)
for epoch in range(n_epochs):
    total = 0.0
    for x, _ in progress(loader, f"epoch {epoch + 1}/{n_epochs}"):
        loss, *_ = train_step(model, optimizer, x)
        total += loss.item() * len(x)
    train_losses.append(total / len(train_set))
    print(f"epoch {epoch + 1:2}: {train_losses[-1]:.1f} nats per image")

# %% run="loss_curve"
plot_losses(
    {"training": train_losses},
    threshold=120,  # {{below}}
    title="Training loss",
    y_label="nats per image",
)

# %% [markdown]
# This check tests the model that you have just trained. For your grade, your model is trained again
# from scratch, with your settings, on the grader's own digits.

# %% test="training"
check("training")

# %% [markdown]
# ## What has it learned?
#
# First, look at reconstructions of test digits. Each image is encoded into `latent_dim` numbers and
# decoded again. In a good result you recognise every digit, a little softer than the original. If
# all ten reconstructions show the same blur, the decoder gets no information from the latent
# vector.

# %% run="reconstructions"
model.eval()
with torch.no_grad():
    originals = test_set.images[:10] / 255
    restored, mu, logvar = model(originals)
plot_reconstructions({"original": originals, "reconstruction": restored})

# %% [markdown]
# ### One image, many samples of z
#
# Each forward pass samples another latent vector from the same posterior. With the posterior's own
# variance, the digit hardly changes. With 20 times the variance, some samples are in regions of
# other digits.

# %% run="variations"
plot_variations(
    model.decoder,
    mu[0],
    logvar[0],
    scales=(1, 20),
    original=originals[0],
    title="Samples from one posterior",
)

# %% [markdown]
# ### New digits, sampled from the prior
#
# Now sample latent vectors from the prior, without any image, and decode them. In a good result
# most samples look like digits, and some look like a mixture of two digits. In a bad result you
# only see isolated dots, or the same digit again and again.

# %% run="prior_samples"
with torch.no_grad():
    samples = model.decoder(torch.randn(40, latent_dim))
plot_samples(samples, title="Decoded samples from the prior N(0, I)")

# %% [markdown]
# ### A map of the means
#
# The means have Z dimensions. t-SNE (van der Maaten & Hinton 2008) maps them to two dimensions, so
# that neighbours stay neighbours. The model never saw a label. Still, digits of one class form
# clusters. If you see one ball with all colours mixed, the means contain little information about
# the image.

# %% run="map"
with torch.no_grad():
    _, means, _ = model(test_set.images / 255)
plot_embeddings(means, test_set.labels, title="Posterior means of test digits")

# %% [markdown]
# ## In your own words ({{answers}} points, graded by a person)
#
# With 20 times the variance, some of the decoded images show another digit than the original.
# Answer in three to five sentences:
#
# - Which term of the loss makes neighbouring posteriors overlap?
# - How would the two rows of the variance figure look, if you trained without that term?

# %% [markdown] answer="larger_variance" points=10
# **Rubric**
#
# - 4 points: The answer names the KL term. It pulls every posterior towards N(0, I), so the
#   posteriors overlap.
# - 3 points: The answer says what happens without it. The variances shrink towards 0 and the means
#   move far apart, because only the reconstruction counts.
# - 3 points: The answer says what follows for the figure. The first row would show the same image
#   again and again. Twenty times a variance of almost 0 is still almost 0, so the second row would
#   hardly change either. Latent vectors between the posteriors, such as samples from the prior,
#   would decode to images that do not look like digits.
#
# **A model answer.** The KL term increases the loss of each posterior that differs from N(0, I), so
# the encoder keeps the posteriors wide and close to the origin, where they overlap. A latent vector
# that is far from its own mean is in the region of another digit and is decoded as that digit.
# Without this term only the reconstruction would count, and noise makes the reconstruction worse:
# the variances would go to zero and the means would move far apart. Both rows would then repeat the
# same digit. Samples from the prior would mostly decode to shapes that are no digits, because no
# image was ever encoded there.

# %% [markdown]
# ## What next
#
# `04_cvae` adds the label to this model. The page *Derivations* of the course's documentation
# derives the loss, and says what the cross-entropy of grey values is.
#
# - Higgins et al. 2017, *β-VAE: learning basic visual concepts with a constrained variational
#   framework*, ICLR. It multiplies the KL by a factor β. With β greater than 1, the codes contain
#   less information, and single latents often describe single properties.
# - Burda, Grosse & Salakhutdinov 2016, *Importance weighted autoencoders*, arXiv:1509.00519. It
#   uses several samples of z for each image, which gives a tighter bound. `vae_utils` computes this
#   bound with `importance_weighted_bound`.
# - Tomczak & Welling 2018, *VAE with a VampPrior*, arXiv:1705.07120. It learns the prior, as a
#   mixture of posteriors of learned inputs, so that samples from the prior are nearer to the codes
#   of images.
