# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 04 · A conditional VAE: digits on demand
#
# *Difficulty: ●●●○○ · about 60 minutes · 100 points*
#
# The VAE of assignment 03 draws digits, but you cannot say which. Drawing a code from the prior is
# like asking for "any digit, please". A **conditional** VAE takes an order: the label goes into
# the encoder and into the decoder, and the code is left with what the label does not say, such as
# slant, width and the weight of the pen.
#
# | what counts | limit |
# | --- | --- |
# | trainable parameters | at most 1.5 million |
# | training loss, in nats per image | below 120 within 10 epochs |
# | samples that look like the digit you asked for | at least 75 % here, 90 % on all of MNIST |
#
# The second number for the samples is for all 60,000 digits: a condition takes many steps to learn,
# and ten epochs of the 9,000 digits that come with the course are few. A small classifier that you
# never see decides what a sample looks like; it is right about 96.8 % of MNIST.
#
# **How to work.** Bring your `myVAE` from assignment 03 and change what the condition changes. Fill
# in each `TODO`, run the cell, then run the `check` below it. You may add cells of your own
# anywhere.

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
# MNIST again, this time with its labels. `source = "full"` gives all 60,000 digits.

# %% run="data"
seed_everything(0)
source = "auto"
train_set = load_dataset("mnist", source=source)
test_set = load_dataset("mnist", train=False, source=source)
plot_samples(train_set.images, train_set.labels, title="Images with their labels")

# %% [markdown]
# ## Labels as vectors
#
# A label is a name, not an amount: 8 is not twice 4. A **one-hot** vector gives each class a place
# of its own and puts a single 1 there:
#
# $$c_j = \begin{cases} 1 & j = \text{label} \\ 0 & \text{else} \end{cases}
# \qquad j = 0, \dots, C - 1.$$
#
# <details><summary>Hint</summary>
#
# `torch.eye(num_classes)` has all the rows you need, and `F.one_hot` makes them as well. A batch
# need not hold every class, so say how many there are.
# </details>


# %% solution="labels_as_vectors"
def one_hot(labels, num_classes):
    """Turn labels into one-hot rows.

    Args:
        labels: Whole numbers from 0 to num_classes − 1, (N,).
        num_classes: How many classes there are, C.

    Returns:
        Zeros, and a single one in each row, (N, C), on the labels' device and of a dtype that
        `forward` below can take.
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
# Everything is now given $c$ (Sohn, Lee & Yan 2015, equation 4; their prior may depend on $c$, ours
# stays $p(z) = \mathcal{N}(0, I)$):
#
# $$-\mathbb{E}_{q_\phi(z \mid x, c)}\big[\log p_\theta(x \mid z, c)\big] +
# D_{KL}\big(q_\phi(z \mid x, c)\,\|\,p(z)\big).$$
#
# In code that is two joins. The encoder takes rows $[x, c]$ of $784 + C$ numbers and the decoder
# rows $[z, c]$ of $Z + C$. The draw and the loss do not change at all.
#
# With $C = 0$ there is no condition: `forward(x)` then does exactly what it did in assignment 03.
#
# <details><summary>A hint for each TODO</summary>
#
# - **encoder**, **decoder**: only the first layer of each gets wider. Two hidden layers on each
#   side are worth having here: see *Training* below. Write every layer out: `[layer] * 2` would
#   be the same layer twice, with one set of weights.
# - **forward**: `torch.cat` joins along the dimension that you name. Each image keeps its row, and
#   the row gets wider.
# - **C = 0**: what should happen when `c` is None?
# </details>


# %% solution="my_vae"
class myVAE(nn.Module):
    """A fully connected VAE for 28 × 28 images, with a condition or without.

    Every layer has weights of its own.

    Args:
        hidden_dim: Number of hidden features, H.
        latent_dim: Size of the latent code, Z.
        conditional_vec_dim: Size of the condition, C; 0 for none.

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
        """Draw z from N(mu, exp(logvar)) so that gradients reach mu and logvar.

        Args:
            mu: Means, (N, Z).
            logvar: Log-variances log σ², (N, Z).

        Returns:
            One code for each row, (N, Z), on mu's device.
        """
        # TODO reparameterize, as in assignment 03
        ### BEGIN SOLUTION
        sigma = torch.exp(0.5 * logvar)
        return mu + sigma * torch.randn_like(sigma)
        ### END SOLUTION

    def forward(self, x, c=None):
        """Encode [x, c], draw a code z, decode [z, c].

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
        """The negative ELBO in nats, averaged over the images of the batch.

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
# There are two ways to learn these digits, and only one is what you want. The encoder can put the
# class into the code, as it did in 03, and the decoder then has no use for $c$: the loss falls
# nicely, and your order is ignored. Or the decoder takes the class from $c$, which costs nothing,
# and the code is spared. The second has the lower loss in the end, but it is learned late.
#
# What helps it along, on few images and in few epochs: **two hidden layers** in the encoder as well
# as in the decoder, a **learning rate** a few times larger than 1e-3, and a **code that is not too
# large**. With one hidden layer and 1e-3 the loss comes out just as low, 112, and yet only 4 of 10
# samples show the digit that was asked for.

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
print(f"{count_parameters(model):,} trainable parameters; the budget is 1,500,000.")

# %% test="parameter_budget"
check("parameter_budget")


# %% setup="train_step"
def train_step(model, optimizer, x, labels):
    """One update of the parameters; returns the loss and what it was computed from."""
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
    {"training": train_losses}, threshold=120, title="Training loss", y_label="nats per image"
)

# %% [markdown]
# This check looks at the model that you have just trained: at its loss, and at what 2,000 of its
# samples look like. When your work is graded, your model is trained again from scratch, with your
# settings, on the grader's own digits.

# %% test="training"
check("training")

# %% [markdown]
# ## Digits on demand
#
# Each row is one draw of $z$ from the prior, decoded with every label in turn. A good result has
# the right digit in every column and *one handwriting along each row*: the same slant and the same
# pen, since that is what the code says. If whole columns show another digit, the decoder listens
# to the code instead of the label.


# %% run="by_condition"
def decode(z, c):
    """Codes (N, Z) and conditions (N, C) to images (N, 1, 28, 28)."""
    with torch.no_grad():
        return model.decoder(torch.cat([z, c], dim=1))


model.eval()
plot_class_conditional(decode, latent_dim, n=6, title="Digits 0 to 9, six draws of z")

# %% [markdown]
# ### The same handwriting, another digit
#
# The encoder says how an image was written, and the label says what. Keep the first and change the
# second. In a good result each row below is one digit, and each column keeps its slant and weight.
# Columns that don't change from row to row would mean that the decoder ignores the label; rows
# whose digits all look alike, that it ignores the code.

# %% run="restyled"
with torch.no_grad():
    originals, labels = test_set.images[:10] / 255, test_set.labels[:10]
    restored, mu, _ = model(originals, one_hot(labels, 10))
    rows = {"original": originals, "its own label": restored}
    for digit in (2, 5, 8):
        rows[f"as a {digit}"] = decode(mu, one_hot(torch.full((10,), digit), 10))
plot_reconstructions(rows, title="One code, several labels")

# %% [markdown]
# ### What is left in the code
#
# The map of the means, as in assignment 03. There the digits gathered in clumps. The label has
# taken over that job: mixed colours are a good sign here, and where one still gathers, the code
# repeats what the label says.

# %% run="map"
with torch.no_grad():
    _, means, _ = model(test_set.images / 255, one_hot(test_set.labels, 10))
plot_embeddings(means, test_set.labels, title="Means of q(z | x, c)")

# %% [markdown]
# ## In your own words (10 points, read by a person)
#
# In the map above the classes overlap far more than in assignment 03, though nobody asked for that.
# In three to five sentences: which term of the loss drives the class out of the code, and why does
# that cost the reconstruction nothing?

# %% [markdown] answer="class_leaves_the_code" points=10
# **Rubric**
#
# - 4 points: names the KL term, which charges for everything that the code says about the image.
# - 3 points: says why the class need not be in the code: the decoder has it from c, free of charge.
# - 3 points: draws the conclusion: a code that repeats the label pays KL for nothing, so the
#   cheapest code holds what the label leaves open, and the posteriors of all classes come to lie
#   over each other, filling the same N(0, I). (So a z from the prior suits any label.)
#
# **A model answer.** The KL term has to be paid for every bit that the code tells about the image.
# The class is handed to the decoder through c anyway, so writing it into the code as well costs KL
# and makes no reconstruction better. Training therefore empties the code of the class and keeps
# what the label does not say: slant, width, thickness. The codes of all classes then fill the same
# region. That is why the colours mix,
# and why any code from the prior can be decoded together with any label.
