# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 04 · A conditional VAE: choose the digit
#
# *Difficulty: ●●●○○ · about 60 minutes · {{total}} points*
#
# The VAE of assignment 03 generates digits, but you cannot choose which digit you get. A
# **conditional** VAE gets the label as an extra input: once in the encoder and once in the decoder.
# So you can choose the digit. The latent vector $z$ then only has to describe what the label does
# not say, such as slant, width and line thickness.
#
# | what is checked | limit |
# | --- | --- |
# | trainable parameters | at most {{budget}} |
# | training loss, in nats per image | below {{below}} within {{epochs}} epochs |
# | samples that look like the digit you asked for | at least 55 % here, 90 % on all of MNIST |
#
# The 90 % is for training on all 60,000 digits. The model needs many steps to learn to use the
# label, and ten epochs of the 9,000 digits in the course are few steps. A small classifier decides
# which digit a sample looks like. You do not see this classifier. It is right for 96.8 % of MNIST.
#
# **How to work.** Copy your `myVAE` from assignment 03 and add the condition. Fill in each `TODO`
# and run the cell. Then run the `check` below it. You may add your own cells anywhere.

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
    plot_class_conditional,
    plot_embeddings,
    plot_losses,
    plot_reconstructions,
    plot_samples,
    progress,
    seed_everything,
)

check = notebook_checks("04_cvae")

# %% [markdown]
# ## The data
#
# This assignment uses MNIST with its labels. Set `source = "full"` for all 60,000 digits.

# %% run="data"
seed_everything(0)
source = "auto"
train_set = load_dataset("mnist", source=source)
test_set = load_dataset("mnist", train=False, source=source)
plot_samples(train_set.images, train_set.labels, title="Images with their labels")

# %% [markdown]
# ## Labels as vectors
#
# A label is a name, not a quantity: 8 is not twice 4. A **one-hot** vector has one entry for each
# class. The entry of the label's class is 1, and all others are 0:
#
# $$c_j = \begin{cases} 1 & j = \text{label} \\ 0 & \text{else} \end{cases}
# \qquad j = 0, \dots, C - 1.$$
#
# <details><summary>Hint</summary>
#
# `torch.eye(num_classes)` has all the rows that you need. `F.one_hot` makes them as well. A batch
# may not contain every class, so pass the number of classes explicitly.
# </details>


# %% solution="labels_as_vectors"
def one_hot(labels, num_classes):
    """Convert labels to one-hot rows.

    Args:
        labels: Whole numbers from 0 to num_classes − 1, (N,).
        num_classes: Number of classes, C.

    Returns:
        Rows of zeros with a single one in each row, (N, C), on the labels' device. The dtype is one
        that `forward` below accepts.
    """
    # TODO one_hot
    ### BEGIN SOLUTION
    return F.one_hot(labels, num_classes).float()
    ### END SOLUTION


# %% test="one_hot"
check("one_hot")

# %% [markdown]
# ## The model
#
# The loss is the negative ELBO of assignment 03, with the condition $c$ in both networks:
#
# $$-\mathbb{E}_{q_\phi(z \mid x, c)}\big[\log p_\theta(x \mid z, c)\big] +
# D_{KL}\big(q_\phi(z \mid x, c)\,\|\,p(z)\big).$$
#
# (Sohn, Lee & Yan 2015, equation 4. Their prior may depend on $c$. Our prior is still
# $p(z) = \mathcal{N}(0, I)$.)
#
# As in assignment 03, the first term is computed as the cross-entropy of grey values. For them, the
# cross-entropy is the mean of $-\log p$ over black-and-white images whose pixels are white with
# these probabilities. It is not a log-likelihood of the grey values themselves: `10_loss_study`
# says why.
#
# In code you only need two concatenations. The input of the encoder is $[x, c]$, rows of $784 + C$
# numbers. The input of the decoder is $[z, c]$, rows of $Z + C$ numbers. The sampling and the loss
# function do not change.
#
# With $C = 0$ there is no condition. Then `forward(x)` does exactly the same as in assignment 03.
#
# <details><summary>A hint for each TODO</summary>
#
# - **encoder**, **decoder**: only the first layer of each gets more inputs. Use two hidden layers
#   in each network; *Training* below explains why. Write every layer separately: `[layer] * 2` is
#   the same layer twice, with one set of weights.
# - **forward**: `torch.cat` joins tensors along the dimension that you name. The number of rows
#   stays the same, and each row gets longer.
# - **C = 0**: what should happen if `c` is None?
# </details>


# %% solution="my_vae"
class myVAE(nn.Module):
    """A fully connected VAE for 28 × 28 images, with or without a condition.

    Each layer has its own weights.

    Args:
        hidden_dim: Number of hidden features, H, of the encoder and also of the decoder.
        latent_dim: Size of the latent vector, Z.
        conditional_vec_dim: Size of the condition, C; 0 for no condition.

    Attributes:
        encoder: Maps rows [x, c], (N, 784 + C), to hidden features (N, H).
        mu_layer: Maps hidden features to means, (N, Z).
        logvar_layer: Maps hidden features to log-variances log σ², (N, Z).
        decoder: Maps rows [z, c], (N, Z + C), to images (N, 1, 28, 28) with values in [0, 1].
    """

    def __init__(self, hidden_dim, latent_dim, conditional_vec_dim=0):
        super().__init__()
        self.latent_dim = latent_dim
        self.conditional_vec_dim = conditional_vec_dim

        # TODO encoder: an nn.Sequential, and one linear layer each for mu and logvar.
        ### BEGIN SOLUTION
        self.encoder = nn.Sequential(
            nn.Linear(28 * 28 + conditional_vec_dim, hidden_dim),
            nn.LeakyReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.LeakyReLU(),
        )
        self.mu_layer = nn.Linear(hidden_dim, latent_dim)
        self.logvar_layer = nn.Linear(hidden_dim, latent_dim)
        ### END SOLUTION

        # TODO decoder: an nn.Sequential that ends in images.
        ### BEGIN SOLUTION
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim + conditional_vec_dim, hidden_dim),
            nn.LeakyReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.LeakyReLU(),
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
        # TODO reparameterize, as in assignment 03
        ### BEGIN SOLUTION
        sigma = torch.exp(0.5 * logvar)
        return mu + sigma * torch.randn_like(sigma)
        ### END SOLUTION

    def forward(self, x, c=None):
        """Encode [x, c], sample z and decode [z, c].

        Calls `self.encoder`, `self.mu_layer`, `self.logvar_layer`, `self.reparameterize` and
        `self.decoder`.

        Args:
            x: Images, (N, 1, 28, 28), in [0, 1].
            c: Conditions, (N, C); None if C is 0.

        Returns:
            The tuple (x_hat, mu, logvar): reconstructions (N, 1, 28, 28), means (N, Z),
            log-variances (N, Z).
        """
        # TODO forward
        ### BEGIN SOLUTION
        condition = [] if c is None else [c]
        hidden = self.encoder(torch.cat([x.flatten(1), *condition], dim=1))
        mu, logvar = self.mu_layer(hidden), self.logvar_layer(hidden)
        z = self.reparameterize(mu, logvar)
        return self.decoder(torch.cat([z, *condition], dim=1)), mu, logvar
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
        # TODO loss_function, as in assignment 03
        ### BEGIN SOLUTION
        recon = F.binary_cross_entropy(x_hat, x, reduction="sum")
        kl = -0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp())
        return (recon + kl) / len(x)
        ### END SOLUTION


# %% [markdown]
# ### Check each part

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

# %% test="unconditional"
check("unconditional")

# %% [markdown]
# ## Training
#
# The model can learn these digits in two ways, and you want the second one:
#
# 1. The encoder puts the class into $z$, as in assignment 03. The decoder then does not need $c$.
#    The loss falls well, but the model ignores the label that you choose.
# 2. The decoder takes the class from $c$. This costs no KL, so $z$ need not contain the class. In
#    the end this way has the lower loss, but the model learns it late.
#
# Three settings help the model to learn the second way from few images and in few epochs:
#
# - **two hidden layers** in the encoder and in the decoder,
# - a **learning rate** a few times larger than 1e-3,
# - a **latent size that is not too large**.
#
# With one hidden layer and 1e-3, the loss is just as low, 112. But only 4 of 10 samples then show
# the digit that was asked for.

# %% solution="settings"
seed_everything(0)

# TODO settings
### BEGIN SOLUTION
hidden_dim = 400
latent_dim = 10
conditional_vec_dim = 10
batch_size = 64
n_epochs = 10
### END SOLUTION

model = myVAE(hidden_dim, latent_dim, conditional_vec_dim)

# TODO optimizer: Adam, over the model's parameters.
### BEGIN SOLUTION
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
### END SOLUTION

# %% run="summary"
model_summary(model, [(1, 28, 28), (conditional_vec_dim,)])
print(f"{count_parameters(model):,} trainable parameters")

# %% test="parameter_budget"
check("parameter_budget")


# %% setup="train_step"
def train_step(model, optimizer, x, labels):
    """Update the parameters once.

    Args:
        model: A `myVAE` with C = 10.
        optimizer: The optimizer of its parameters.
        x: Images, (N, 1, 28, 28), in [0, 1].
        labels: The digits of the images, (N,).

    Returns:
        The tuple (loss, x_hat, mu, logvar): the loss before the update, and the outputs of the
        model that it was computed from.
    """
    x_hat, mu, logvar = model(x, one_hot(labels, 10))
    loss = model.loss_function(x_hat, x, mu, logvar)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss, x_hat, mu, logvar


# %% run="train"
train_losses = []
loader = make_loader(train_set, batch_size)
for epoch in range(n_epochs):
    total = 0.0
    for x, labels in progress(loader, f"epoch {epoch + 1}/{n_epochs}"):
        loss, *_ = train_step(model, optimizer, x, labels)
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
# This check tests the model that you have just trained: its loss, and the digits in 2,000 of its
# samples. For your grade, your model is trained again from scratch, with your settings, on the
# grader's own digits.

# %% test="training"
check("training")

# %% [markdown]
# ## Choose the digit
#
# Each row of the next figure has one sample of $z$ from the prior. It is decoded with every label
# from 0 to 9. In a good result, every column shows the right digit, and *each row has one
# handwriting*: the same slant and the same line thickness, because $z$ describes them. If complete
# columns show another digit, the decoder takes the class from $z$ and not from the label.


# %% run="by_condition"
def decode(z, c):
    """Decode latent vectors (N, Z) with conditions (N, C) to images (N, 1, 28, 28)."""
    with torch.no_grad():
        return model.decoder(torch.cat([z, c], dim=1))


model.eval()
plot_class_conditional(decode, latent_dim, n=6, title="Digits 0 to 9, six samples of z")

# %% [markdown]
# ### The same handwriting, another digit
#
# The encoder's $z$ describes how an image was written. The label says which digit it is. The next
# cell keeps $z$ and changes the label. In a good result, each of the last three rows shows one
# digit, and each column keeps its slant and line thickness. If the columns do not change from row
# to row, the decoder ignores the label. If all digits of a row look the same, it ignores $z$.

# %% run="restyled"
with torch.no_grad():
    originals, labels = test_set.images[:10] / 255, test_set.labels[:10]
    restored, mu, _ = model(originals, one_hot(labels, 10))
    rows = {"original": originals, "its own label": restored}
    for digit in (2, 5, 8):
        rows[f"as a {digit}"] = decode(mu, one_hot(torch.full((10,), digit), 10))
plot_reconstructions(rows, title="The same z, several labels")

# %% [markdown]
# ### What information is left in z
#
# This is the map of the means, as in assignment 03. There, the digits of one class formed clusters.
# Here, the label already tells the decoder the class. So mixed colours are a good result. Where one
# colour still forms a cluster, $z$ repeats information that the label already has.

# %% run="map"
with torch.no_grad():
    _, means, _ = model(test_set.images / 255, one_hot(test_set.labels, 10))
plot_embeddings(means, test_set.labels, title="Means of q(z | x, c)")

# %% [markdown]
# ## In your own words ({{answers}} points, graded by a person)
#
# In the map above, the classes overlap much more than in assignment 03. No term of the loss asks
# for this explicitly. Answer in three to five sentences:
#
# - Which term of the loss removes the class from $z$?
# - Why does this not make the reconstruction worse?

# %% [markdown] answer="class_leaves_the_code" points=10
# **Rubric**
#
# - 4 points: The answer names the KL term. It grows with the information about the image in z.
# - 3 points: The answer says why z need not contain the class: the decoder gets the class from c,
#   without any KL cost.
# - 3 points: The answer draws the conclusion. If z repeats the label, this costs KL and brings no
#   benefit. So the cheapest z contains only what the label does not say. The posteriors of all
#   classes then overlap and fill the same N(0, I). (So a z from the prior fits any label.)
#
# **A model answer.** All information about the image in z increases the KL term. The decoder
# already gets the class through c, so writing the class into z as well costs KL and does not
# improve the reconstruction. Training therefore removes the class from z and keeps what the label
# does not say: slant, width, line thickness. The latent vectors of all classes then fill the same
# region. That is why the colours mix, and why any z from the prior can be decoded together with
# every label.

# %% [markdown]
# ## What next
#
# `05_structured_cvae` uses a part of the image as the condition.
#
# - Kingma et al. 2014, *Semi-supervised learning with deep generative models*, arXiv:1406.5298. It
#   treats a missing label as a second latent, so that images without labels also train the model.
# - Sohn, Lee & Yan 2015, *Learning structured output representation using deep conditional
#   generative models*, NeurIPS. Its prior p(z | c) is a network. So the distribution of z may
#   differ from class to class.
# - Ho & Salimans 2022, *Classifier-free diffusion guidance*, arXiv:2207.12598. It trains one model
#   with and without the label, and compares the two outputs to follow the label more strictly.
