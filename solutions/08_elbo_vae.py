# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 08 · The ELBO, term by term
#
# *Difficulty: ●●○○○ · about 60 minutes · {{total}} points*
#
# How likely is an image under a model that first samples a hidden code and then samples the image
# from it? The exact answer is an integral over all codes, which cannot be computed. The **evidence
# lower bound** (ELBO) avoids this integral. An encoder proposes a distribution over codes for the
# image. The bound is the expected log-likelihood under this distribution, minus a KL divergence
# that measures how much the distribution says about the image. The true log-likelihood is never
# below this bound.
#
# Here you write the bound method by method, one small function for each symbol. The layers, their
# sizes and the training are given, so that you can work on the formulas only.
#
# | task | points |
# | --- | --- |
# | 1 · encoder | {{points.encoder}} |
# | 2 · reparameterized sample | {{points.sample_with_reparam}} |
# | 3 · decoder | {{points.decoder}} |
# | 4 · KL divergence | {{points.kl_divergence}} |
# | 5 · ELBO, and a −ELBO below {{below}} nats within {{epochs}} epochs | {{points.elbo}} |
# | 6 · new images | {{points.sample}} |
#
# **Rules.** Change only the `TODO` parts and, if you like, `source`. `torch.distributions` and
# further imports are not allowed: everything you need is already imported. Return exactly the
# shapes that the docstrings state. After a change, run the cell of the class again, and then all
# cells below it.

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
    plot_losses,
    plot_samples,
    progress,
    seed_everything,
    visualize_embeddings,
    visualize_mnist,
    visualize_samples,
)

check = notebook_checks("08_elbo_vae")

# %% [markdown]
# ## The data
#
# MNIST digits as flat rows of $D = 784$ numbers. A small part of the set is included in the course.
# To use all 60,000 digits, set `source = "full"`.
#
# > **Binary or grey?** The formulas below are for pixels $x_j \in \{0, 1\}$. MNIST's pixels are
# > grey values in [0, 1]. As is usual, we use them in the same formula. A grey value of 0.7 then
# > represents a pixel that is white 7 times out of 10, and the result is the average over these
# > black-and-white images. It is not a log-likelihood of the grey values themselves:
# > `10_loss_study` says why. Use the grey values as they are; do not round them.

# %% setup="source"
source = "auto"

# %% run="data"
seed_everything(0)
train_set = load_dataset("mnist", source=source)
test_set = load_dataset("mnist", train=False, source=source)
visualize_mnist(make_loader(train_set))

# %% [markdown]
# ## What you build
#
# **Task 1: the encoder** $f_\psi$ maps an image to the parameters of a Gaussian over codes,
#
# $$q(z \mid x) = \mathcal{N}\big(z;\ \mu,\ \mathrm{diag}(\sigma^2)\big), \qquad
# (\mu, \log\sigma) = f_\psi(x).$$
#
# Its layers are `linear1`, a ReLU, and then two layers side by side: `linear21` for $\mu$ and
# `linear22` for $\log\sigma$. In this notebook the second output is **the logarithm of σ**. In many
# other texts it is the logarithm of σ². It can be negative, but σ = exp(log σ) is always positive.
#
# **Task 2: the sample.** A random sample has no gradient. But noise that is scaled by σ and shifted
# by μ has a gradient with respect to μ and σ (Kingma & Welling 2014, section 2.4). Take one sample
# for each image:
#
# $$z = \mu + \sigma \odot \varepsilon, \qquad \varepsilon \sim \mathcal{N}(0, I).$$
#
# **Task 3: the decoder** $g_\lambda$ maps a code to the probability of white for each pixel,
# $\theta = g_\lambda(z) \in (0, 1)^D$. Its layers are `linear3`, a ReLU, `linear4` and a sigmoid.
# The pixels are independent Bernoulli variables (the same paper, appendix C.1):
#
# $$\log p(x \mid z) = \sum_{j=1}^{D} \big[x_j \log\theta_j + (1 - x_j) \log(1 - \theta_j)\big].$$
#
# > **Erratum.** The original sheet of this assignment writes the parameters of the likelihood as
# > $g_\lambda(x)$ in one place. The decoder's input is the code, not the image: it is
# > $g_\lambda(z)$.
#
# **Task 4: the KL divergence** from the prior $p(z) = \mathcal{N}(0, I)$ has a closed form
# (appendix B of the same paper). With $\sigma$ for the standard deviation and $L$ latent
# dimensions:
#
# $$D_{KL}\big(q(z \mid x)\,\|\,p(z)\big) =
# \sum_{j=1}^{L} \Big[\tfrac12 \big(\mu_j^2 + \sigma_j^2 - 1\big) - \log\sigma_j\Big].$$
#
# **Task 5: the ELBO** of one image is the expected log-likelihood minus the KL divergence (equation
# 3 of the same paper). Use one sample $z$ instead of the expectation:
#
# $$\mathcal{L}(x) = \mathbb{E}_{z \sim q(z \mid x)}\big[\log p(x \mid z)\big]
# - D_{KL}\big(q(z \mid x)\,\|\,p(z)\big).$$
#
# Return **one number for each image**. Training computes their mean and maximizes it.
#
# **Task 6: new images.** This method has no input image. Sample $z$ from the prior, decode it, and
# then sample each pixel from its Bernoulli distribution. The result is black and white.
#
# <details><summary>A hint for each task</summary>
#
# 1. Why is there a ReLU after the hidden features, but none after μ and log σ?
# 2. `torch.randn_like` samples one number for each entry of a tensor.
# 3. Apply `torch.sigmoid` once, at the end.
# 4. To test your code by hand: with one latent, μ = 2 and σ = 1, the KL is 2. With μ = 0 and log σ
#    = 1 it is (e² − 1)/2 − 1 ≈ 2.19.
# 5. `F.binary_cross_entropy(..., reduction="none")` returns one number for each pixel. What is the
#    sign of a log-likelihood, and what is the sign of a cross-entropy? Over which axis do you sum?
# 6. `torch.bernoulli` samples 0 or 1. `with torch.no_grad():` turns gradients off.
# </details>


# %% solution="vae"
class VAE(nn.Module):
    """A variational autoencoder with one hidden layer in the encoder and one in the decoder.

    Args:
        obs_dim: Size of an observation x, D.
        latent_dim: Size of a code z, L.
        hidden_dim: Size of the hidden layers, H.
    """

    def __init__(self, obs_dim, latent_dim, hidden_dim=100):
        super().__init__()
        self.latent_dim = latent_dim

        # The encoder's layers: hidden features, mu, logsigma.
        self.linear1 = nn.Linear(obs_dim, hidden_dim)
        self.linear21 = nn.Linear(hidden_dim, latent_dim)
        self.linear22 = nn.Linear(hidden_dim, latent_dim)

        # The decoder's layers: hidden features, pixels.
        self.linear3 = nn.Linear(latent_dim, hidden_dim)
        self.linear4 = nn.Linear(hidden_dim, obs_dim)

    def encoder(self, x):
        """Compute the parameters of q(z | x).

        Args:
            x: Observations, (N, D).

        Returns:
            The tuple (mu, logsigma): means and log σ, (N, L) each.
        """
        # TODO encoder
        ### BEGIN SOLUTION
        hidden = F.relu(self.linear1(x))
        return self.linear21(hidden), self.linear22(hidden)
        ### END SOLUTION

    def sample_with_reparam(self, mu, logsigma):
        """Sample one z from N(mu, σ²) for each row, so that gradients reach mu and logsigma.

        Args:
            mu: Means, (N, L).
            logsigma: log σ, (N, L).

        Returns:
            Codes, (N, L), on mu's device.
        """
        # TODO sample_with_reparam
        ### BEGIN SOLUTION
        sigma = torch.exp(logsigma)
        return mu + sigma * torch.randn_like(sigma)
        ### END SOLUTION

    def decoder(self, z):
        """Compute the parameters θ of p(x | z).

        Args:
            z: Codes, (N, L).

        Returns:
            The probability of white for each pixel, (N, D), in (0, 1).
        """
        # TODO decoder
        ### BEGIN SOLUTION
        hidden = F.relu(self.linear3(z))
        return torch.sigmoid(self.linear4(hidden))
        ### END SOLUTION

    def kl_divergence(self, mu, logsigma):
        """Compute the KL divergence D_KL(N(mu, σ²) ‖ N(0, I)), in nats.

        Args:
            mu: Means, (N, L).
            logsigma: log σ, (N, L).

        Returns:
            One number for each row, (N,).
        """
        # TODO kl_divergence
        ### BEGIN SOLUTION
        sigma = torch.exp(logsigma)
        return torch.sum(0.5 * (mu**2 + sigma**2 - 1) - logsigma, dim=1)
        ### END SOLUTION

    def elbo(self, x):
        """Estimate the ELBO with one sample of z, in nats.

        Calls `self.encoder`, `self.sample_with_reparam`, `self.decoder` and `self.kl_divergence`.

        Args:
            x: Observations, (N, D), in [0, 1].

        Returns:
            One number for each observation, (N,).
        """
        # TODO elbo
        ### BEGIN SOLUTION
        mu, logsigma = self.encoder(x)
        theta = self.decoder(self.sample_with_reparam(mu, logsigma))
        log_likelihood = -F.binary_cross_entropy(theta, x, reduction="none").sum(dim=1)
        return log_likelihood - self.kl_divergence(mu, logsigma)
        ### END SOLUTION

    def sample(self, num_samples):
        """Sample new observations: z from the prior, then x from p(x | z).

        Calls `self.decoder`.

        Args:
            num_samples: The number of observations, N.

        Returns:
            Pixels that are 0 or 1, (N, D), on the model's device, without gradient.
        """
        # TODO sample
        ### BEGIN SOLUTION
        with torch.no_grad():  # new images train nothing
            device = next(self.parameters()).device
            z = torch.randn(num_samples, self.latent_dim, device=device)
            return torch.bernoulli(self.decoder(z))
        ### END SOLUTION


# %% [markdown]
# ### Check each part
#
# Each check tests one part and uses known values for the others. An error in one part loses the
# points of that part only. If a check fails, correct the class above, run its cell again, and then
# run the check again.

# %% test="encoder"
check("encoder")

# %% test="sample_with_reparam"
check("sample_with_reparam")

# %% test="decoder"
check("decoder")

# %% test="kl_divergence"
check("kl_divergence")

# %% test="sample"
check("sample")

# %% [markdown]
# ## Training
#
# The settings are given: 32 latents, 400 hidden features, Adam with learning rate 0.001, 5 epochs.
#
# | digits | batch | limit for −ELBO, within 5 epochs | the reference reaches |
# | --- | --- | --- | --- |
# | the small set that is included in the course | 32 | below **{{below}}** | about 121 |
# | all 60,000 (`source="full"`) | 128 | below 112 | 108 to 110 |
#
# The small set has its own limit. It has 9,000 digits, so five epochs show the model less than a
# sixth of the digits that five epochs on the full set show. A −ELBO of 112 cannot be reached there
# in five epochs. You are graded on the small set.

# %% setup="settings"
seed_everything(0)

obs_dim = 28 * 28
latent_dim = 32
hidden_dim = 400
batch_size = 128 if source == "full" else 32
n_epochs = 5

model = VAE(obs_dim, latent_dim, hidden_dim)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


# %% [markdown]
# The model summary needs a `forward` method, but `VAE` has none. The class below adds one: it
# encodes, samples and decodes.


# %% run="summary"
class OnePass(nn.Module):
    """A module whose `forward` is one pass through a VAE, for the summary."""

    def __init__(self, vae):
        super().__init__()
        self.vae = vae

    def forward(self, x):
        """Map rows (N, D) to the probability of white for each pixel, (N, D)."""
        return self.vae.decoder(self.vae.sample_with_reparam(*self.vae.encoder(x)))


model_summary(OnePass(model), (obs_dim,))
print(f"{count_parameters(model):,} trainable parameters; there is no limit here.")


# %% setup="train_step"
def train_step(model, optimizer, x):
    """Update the parameters once, with the mean −ELBO of one batch as the loss.

    Args:
        model: A `VAE`.
        optimizer: An optimizer of the model's parameters.
        x: Observations, (N, D), in [0, 1].

    Returns:
        The tuple (loss, theta, mu, logsigma): the mean −ELBO in nats, a scalar, and the results of
        one more pass, without gradients: probabilities (N, D), mu and logsigma (N, L). The two
        terms of the loss can be computed from them.
    """
    loss = -model.elbo(x).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        mu, logsigma = model.encoder(x)
        theta = model.decoder(model.sample_with_reparam(mu, logsigma))
    return loss, theta, mu, logsigma


# %% run="train"
train_losses, kl_terms = [], []
loader = make_loader(train_set, batch_size)
for epoch in range(n_epochs):
    total = total_kl = 0.0
    for x, _ in progress(loader, f"epoch {epoch + 1}/{n_epochs}"):
        loss, _, mu, logsigma = train_step(model, optimizer, x.flatten(1))
        total += loss.item() * len(x)
        total_kl += model.kl_divergence(mu, logsigma).sum().item()
    train_losses.append(total / len(train_set))
    kl_terms.append(total_kl / len(train_set))
    print(f"epoch {epoch + 1}: {train_losses[-1]:.1f} nats, KL {kl_terms[-1]:.1f} of them")

# %% [markdown]
# In a good run, the −ELBO starts near 200 in the first epoch and falls below 125 in the fourth or
# fifth. Look at its two terms. The KL *increases*, because a code with more information lets the
# decoder predict better, and the reconstruction term decreases by more than the KL increases. If
# the KL stays near 0, the codes contain no information, and every image is decoded to the same grey
# blur. The −ELBO then stays near 205.

# %% run="loss_curve"
plot_losses(
    {
        "−ELBO": train_losses,
        "reconstruction": [loss - kl for loss, kl in zip(train_losses, kl_terms, strict=True)],
        "KL": kl_terms,
    },
    threshold=112 if source == "full" else 125,  # {{below}}
    title="Training: −ELBO and its two terms",
    y_label="nats per image",
)

# %% [markdown]
# This check tests the values of your `elbo`, and then the model that you have just trained. For
# your grade, your model is trained again from scratch, on the grader's own digits, and the grader
# computes the −ELBO again.

# %% test="elbo"
check("elbo")

# %% [markdown]
# ## What has it learned?
#
# First, images from your `sample`. Each one is a sample of the whole model: a code from the prior,
# then every pixel from its own Bernoulli distribution. In this way the figure shows what the model
# assumes: if the code is known, the pixels are independent. So the strokes have rough edges and
# gaps, there are single dots outside the strokes, and many of the images are hard to read. No image
# of the data looks like this. The figure does *not* show how good the code is, because the noise of
# the pixels hides it. The next figure shows this better.

# %% run="samples"
seed_everything(1)
visualize_samples(model)

# %% [markdown]
# The next figure shows the pixel probabilities themselves, before the pixels are sampled. They are
# the mean of all images that one code can give, so they look smoother, and papers often show them
# for this reason. But they are not samples of the model, because in this model each pixel is black
# or white. Some should look like digits, and some like a mixture of two digits. Bad results are:
# the same average digit in all images, or noise. Neither figure measures the model: a low −ELBO and
# good samples often go together, but not always.

# %% run="probabilities"
with torch.no_grad():
    probabilities = model.decoder(torch.randn(20, latent_dim))
plot_samples(probabilities, title="Pixel probabilities, decoded from samples of the prior")

# %% [markdown]
# ### A map of the means
#
# t-SNE (van der Maaten & Hinton 2008) maps the means of 1,000 test digits to a plane. Points that
# are close in the latent space stay close in the plane. The model was trained without labels. If
# the codes contain information about the digit, the points still form one group for each digit,
# with 4 and 9 next to each other. If all colours are mixed in one group, the codes contain no
# information about the digit.

# %% run="embeddings"
x = test_set.images[:1000].flatten(1) / 255
visualize_embeddings(model, x, test_set.labels[:1000])

# %% [markdown]
# ## What next
#
# The samples are rough for two reasons. Fully connected layers do not use the information which
# pixels are neighbours. And the pixels are sampled independently, so neighbouring pixels of a
# stroke can disagree. `09_gaussian_vae` uses convolutions and a density of grey values. The page
# *Derivations* of the course's documentation derives each formula of this notebook.
#
# - van den Oord et al. 2016, *Conditional image generation with PixelCNN decoders*,
#   arXiv:1606.05328. Its decoder predicts each pixel from the pixels before it. So neighbouring
#   pixels of a sample agree.
# - Child 2021, *Very deep VAEs generalize autoregressive models and can outperform them on images*,
#   arXiv:2011.10650. It has many layers of latents, at several image sizes, so that less is left to
#   independent pixels.
# - Burda, Grosse & Salakhutdinov 2016, *Importance weighted autoencoders*, arXiv:1509.00519. It
#   gives a tighter bound with several samples of z. Compute it for your model with
#   `vae_utils.importance_weighted_bound`, and see how far the ELBO is below it.
# - Loaiza-Ganem & Cunningham 2019, *The continuous Bernoulli: fixing a pervasive error in
#   variational autoencoders*, arXiv:1907.06845. It adds the constant that turns the formula for
#   grey values into a log-density.
