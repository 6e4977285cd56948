# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 02 · A denoising autoencoder
#
# *Difficulty: ●●○○○ · about 75 minutes · 100 points*
#
# A photograph taken at night is full of grain, and yet you see at once what it shows: you know what
# the world looks like, and grain is not in it. A **denoising autoencoder** learns the same from
# examples. It gets a spoilt image and is asked for the clean one. To answer, it has to know what
# digits look like, since the noise has wiped out part of every stroke.
#
# This one is made of convolutions, and it is small: 15 thousand weights, a hundredth of what the
# fully connected one was allowed. You will spoil images, build the network, train it in under a
# minute, and find out what it does with more noise than it has ever seen.
#
# | what counts | limit |
# | --- | --- |
# | trainable parameters | at most 15,000 |
# | training loss, mean squared error | below 0.025 within 20 epochs |
# | values in a code | fewer than an image's 784 |
#
# **How to work.** Fill in each `TODO`, run the cell, then run the `check` below it: it tells you
# what holds and what doesn't. Cells without a `TODO` are complete. You may add cells of your own
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
    plot_losses,
    plot_reconstructions,
    plot_samples,
    progress,
    seed_everything,
)

check = notebook_checks("02_denoising_autoencoder")

# %% [markdown]
# ## The data
#
# MNIST: grey 28 × 28 digits with values in [0, 1]. A small part of it comes with the course; set
# `source = "full"` for all 60,000 (they are downloaded once).

# %% run="data"
seed_everything(0)
source = "auto"
train_set = load_dataset("mnist", source=source)
test_set = load_dataset("mnist", train=False, source=source)
test_images = test_set.images / 255
plot_samples(train_set.images, train_set.labels, title="MNIST, still clean")

# %% [markdown]
# ## Noise
#
# Every pixel of every image gets a Gaussian number of its own, and what leaves the range of a pixel
# is cut off:
#
# $$\tilde{x} = \mathrm{clip}\big(x + s\,\varepsilon,\ 0,\ 1\big), \qquad
# \varepsilon \sim \mathcal{N}(0, I),$$
#
# with the standard deviation $s$ = 0.5 in training. (Vincent et al. 2008, section 2, blank pixels
# out instead; the idea is the same.) The clean image is needed again afterwards, so `add_noise`
# has to leave it as it is.
#
# <details><summary>A hint</summary>
#
# `torch.randn_like` draws as many numbers as a tensor has, on its device and of its type. Methods
# whose names end in an underscore change the tensor that they are called on.
# </details>


# %% solution="my_noise"
def add_noise(x, std=0.5):
    """Add Gaussian noise to images and clip the sum.

    Args:
        x: Images in [0, 1], of any shape; they stay as they are.
        std: Standard deviation of the noise, before it is clipped.

    Returns:
        New images of the same shape, on the same device, in [0, 1], with new noise at every call.
    """
    # TODO add_noise
    ### BEGIN SOLUTION
    return (x + std * torch.randn_like(x)).clamp(0, 1)
    ### END SOLUTION


# %% test="add_noise"
check("add_noise")

# %% run="noise_levels"
clean = test_images[:10]
plot_reconstructions(
    {"clean": clean, **{f"std {std:g}": add_noise(clean, std) for std in (0.25, 0.5, 1)}},
    title="The same digits, with more and more noise",
)

# %% [markdown]
# ## The model
#
# Encoder and decoder are made of convolutions alone. A convolution looks at a small patch at a
# time, with the same few weights wherever the patch lies: a stroke is a stroke in every corner.
# That is why so few parameters are enough.
#
# **The encoder** has three blocks of `nn.Conv2d`, `nn.BatchNorm2d` and `nn.LeakyReLU`, each
# followed by a pooling that halves both sides (rounding down): 28 → 14 → 7 → 3. Its output is the
# **bottleneck**: $C$ channels of 3 × 3, and $9\,C$ has to be less than 784. A wide bottleneck lets
# the noise slip through, a narrow one loses the shape of the strokes.
#
# **The decoder** goes the way back with three `nn.ConvTranspose2d`. With kernel size $k$, stride
# $s$, padding $p$ and output padding $o$, a side of $n$ becomes
#
# $$n' = (n - 1)\,s - 2p + k + o.$$
#
# BatchNorm and LeakyReLU come after the first two of them; after the third comes a sigmoid, since
# pixels lie in [0, 1].
#
# *An erratum.* The homework that this assignment follows asks for BatchNorm and LeakyReLU after the
# third transposed convolution too. Nearly all that then reaches the sigmoid is positive, and the
# sigmoid of a positive number is above ½: most of every image could not be drawn, since it is
# black. Built as printed, a model of this size was still at 0.21 after six epochs. Leave both out
# there.
#
# <details><summary>A hint for each TODO</summary>
#
# - **encoder**: padding keeps a convolution from shrinking the image: with kernel size 3 it is 1.
#   Few channels where the image is large save time, and more where it is small cost little.
# - **decoder**: 3 → 7 is (3 − 1) · 2 + 3: kernel size 3, stride 2, no padding. Find a kernel size
#   and a padding that double a side, with the formula above, for 7 → 14 → 28.
# - **forward**: one line. What has to come out is the image alone.
# </details>


# %% solution="denoise_ae"
class DenoiseAE(nn.Module):
    """A small convolutional autoencoder for 28 × 28 images; it is made without arguments.

    Attributes:
        encoder: Maps images (N, 1, 28, 28) to codes of fewer than 784 values each.
        decoder: Maps codes to images (N, 1, 28, 28) with values in [0, 1].
    """

    def __init__(self):
        super().__init__()

        # TODO encoder: an nn.Sequential from images to codes.
        ### BEGIN SOLUTION
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 8, kernel_size=3, padding=1),
            nn.BatchNorm2d(8),
            nn.LeakyReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, kernel_size=3, padding=1),
            nn.BatchNorm2d(16),
            nn.LeakyReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, kernel_size=3, padding=1),
            nn.BatchNorm2d(32),
            nn.LeakyReLU(),
            nn.MaxPool2d(2),
        )
        ### END SOLUTION

        # TODO decoder: an nn.Sequential from codes to images.
        ### BEGIN SOLUTION
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(32, 16, kernel_size=3, stride=2),
            nn.BatchNorm2d(16),
            nn.LeakyReLU(),
            nn.ConvTranspose2d(16, 8, kernel_size=4, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.LeakyReLU(),
            nn.ConvTranspose2d(8, 1, kernel_size=4, stride=2, padding=1),
            nn.Sigmoid(),
        )
        ### END SOLUTION

    def forward(self, x):
        """Encode the images and decode their codes; no noise is added here.

        Calls `self.encoder` and `self.decoder`.

        Args:
            x: Images, noisy or not, (N, 1, 28, 28), in [0, 1].

        Returns:
            The denoised images x_hat alone, (N, 1, 28, 28).
        """
        # TODO forward
        ### BEGIN SOLUTION
        return self.decoder(self.encoder(x))
        ### END SOLUTION


# %% [markdown]
# ### Check each part
#
# The parts are judged one by one, each with known values around it, so that a slip in one place
# costs you nothing elsewhere. Correct the class above, run its cell again, and check again.

# %% test="encoder"
check("encoder")

# %% test="bottleneck"
check("bottleneck")

# %% test="decoder"
check("decoder")

# %% test="forward"
check("forward")

# %% [markdown]
# ## The loss
#
# The **mean squared error**, over all images and pixels, as for the plain autoencoder. What is new
# is what is compared: the model $g \circ f$ sees the noisy image, but its answer is held against
# the *clean* one (Vincent et al. 2008, section 2):
#
# $$\mathcal{L} = \mathrm{MSE}(\hat{x},\ x), \qquad \hat{x} = g\big(f(\tilde{x})\big).$$
#
# Held against $\tilde{x}$, it would learn to draw noise.
#
# A feeling for its size: the noisy images themselves are 0.12 away from the clean ones, the mean of
# all digits 0.067, and below 0.025 the digits can be read again.
#
# <details><summary>A hint</summary>
#
# `criterion` is the same as for the plain autoencoder. `denoising_loss` needs three lines: spoil,
# denoise, compare. It gets its tools as arguments: use those rather than the names outside, then
# you can try it with other noise, and so can the check.
# </details>


# %% solution="my_loss"
# TODO criterion: a callable; criterion(x_hat, x) gives the mean squared error, a scalar.
### BEGIN SOLUTION
criterion = nn.MSELoss()
### END SOLUTION


def denoising_loss(model, x, corrupt, criterion):
    """Measure how well a model restores what noise has spoilt.

    Args:
        model: Maps images to images, such as a `DenoiseAE`.
        x: Clean images, (N, 1, 28, 28).
        corrupt: Makes noisy images of clean ones, such as `add_noise`; called with them alone.
        criterion: Compares two batches of images.

    Returns:
        The tuple (loss, x_hat): what `criterion` gives, and the denoised images (N, 1, 28, 28).
    """
    # TODO denoising_loss
    ### BEGIN SOLUTION
    x_hat = model(corrupt(x))
    return criterion(x_hat, x), x_hat
    ### END SOLUTION


# %% test="criterion"
check("criterion")

# %% test="denoising_loss"
check("denoising_loss")

# %% [markdown]
# ## Training
#
# Choose a batch size, a number of epochs and an optimizer. Smaller batches make more updates in an
# epoch, and only epochs are counted. With BatchNorm in it, a model bears larger steps than without:
# try 2e-3.

# %% solution="settings"
seed_everything(0)
model = DenoiseAE()

# TODO settings
### BEGIN SOLUTION
batch_size = 32
n_epochs = 10
### END SOLUTION

# TODO optimizer: Adam, over the model's parameters.
### BEGIN SOLUTION
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
### END SOLUTION

# %% run="summary"
model_summary(model, (1, 28, 28))
print(f"{count_parameters(model):,} trainable parameters; the budget is 15,000.")
print(f"{model.encoder(test_images[:1]).numel()} values in a code; an image has 784.")

# %% test="parameter_budget"
check("parameter_budget")


# %% setup="train_step"
def train_step(model, optimizer, x):
    """One update of the parameters; returns the loss and the denoised images it is the loss of."""
    loss, x_hat = denoising_loss(model, x, add_noise, criterion)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss, x_hat


# %% [markdown]
# The loop below is the whole of training. It keeps one number for each epoch: the mean loss over
# the images. Every batch gets new noise, so no noisy image ever comes twice, and learning one by
# heart is no use.
#
# - **Good**: below 0.07 in the first epoch, below 0.025 in the second or third, then slowly down.
# - **Bad**: it stays near 0.067. The answer is the mean of all digits, whatever you show it.
# - **Bad**: it stays near 0.2. Black can't be drawn: what is there between the last convolution and
#   the sigmoid?

# %% run="train"
train_losses = []
loader = make_loader(train_set, batch_size)
for epoch in range(n_epochs):
    total = 0.0
    for x, _ in progress(loader, f"epoch {epoch + 1}/{n_epochs}"):
        loss, _ = train_step(model, optimizer, x)
        total += loss.item() * len(x)
    train_losses.append(total / len(train_set))
    print(f"epoch {epoch + 1:2}: mean squared error {train_losses[-1]:.4f}")

# %% run="loss_curve"
plot_losses(
    {"training": train_losses}, threshold=0.025, title="Training loss", y_label="mean squared error"
)

# %% [markdown]
# This check looks at the model that you have just trained. When your work is graded, your model is
# trained again from scratch, with your settings, on the grader's own digits.

# %% test="training"
check("training")

# %% [markdown]
# ## What has it learned?
#
# Digits that it never saw, with noise that it never saw. The model is in eval mode from here on, so
# that BatchNorm uses what it has gathered in training, and one image's answer doesn't depend on the
# others beside it. Expect smooth, slightly soft strokes on a clean black ground; grain that is left
# over, or grey ground, would mean that it hasn't learned enough.

# %% run="denoised"
model.eval()
noisy_images = add_noise(test_images)
with torch.no_grad():
    denoised = model(noisy_images)
plot_reconstructions(
    {"noisy": noisy_images, "denoised": denoised, "clean": test_images},
    title="Test digits: what it gets, what it gives, what was there",
)

# %% [markdown]
# ### Is that better than a blur?
#
# Noise can be fought without any learning: take the mean over a small neighbourhood, and much of it
# cancels. The strokes blur with it. A number is worth little without such a rival beside it.

# %% run="rivals"
rivals = {
    "noisy image as it is": noisy_images,
    "mean of 3 × 3 pixels": F.avg_pool2d(noisy_images, 3, stride=1, padding=1),
    "mean of 5 × 5 pixels": F.avg_pool2d(noisy_images, 5, stride=1, padding=2),
    "your model": denoised,
}
print("mean squared error on test digits")
for name, images in rivals.items():
    print(f"  {name:22} {F.mse_loss(images, test_images).item():.4f}")
plot_reconstructions(rivals | {"clean": test_images}, title="What each of them makes of the noise")

# %% [markdown]
# ### More noise than it has ever seen
#
# It was trained on one amount of noise, 0.5. Here is one digit with less of it and with more.

# %% run="other_noise"
stds = (0.1, 0.25, 0.5, 0.75, 1, 1.5, 2)
with torch.no_grad():
    spoilt = {std: add_noise(test_images, std) for std in stds}
    restored = {std: model(images) for std, images in spoilt.items()}
for std in stds:
    print(f"std {std:<4g}  error {F.mse_loss(restored[std], test_images).item():.4f}")
plot_reconstructions(
    {
        "noisy": torch.stack([spoilt[std][0] for std in stds]),
        "denoised": torch.stack([restored[std][0] for std in stds]),
    },
    labels=[f"std {std:g}" for std in stds],
    title="One digit, from little noise to four times as much as in training",
)

# %% [markdown]
# ## In your own words (10 points, read by a person)
#
# Look at the last figure and its numbers. In three to five sentences: where does the model get the
# strokes from that the noise has wiped out? What happens on either side of the noise that it was
# trained with, and why? What would you change in the training to make it good at all of them?

# %% [markdown] answer="other_noise_levels" points=10
# **Rubric**
#
# - 4 points: the lost strokes come from the training set: the mean squared error is smallest for
#   the mean of all clean digits that could have led to this noisy image, so the model fills in what
#   usually stands there; the bottleneck leaves it no room to pass the pixels on as they are.
# - 4 points: says what the figure shows on both sides, and why: with more noise the patches look
#   like none that it was trained on, strokes break up and false ones appear; with less noise the
#   error falls a little and then stays, since the model never learned to trust its input more, and
#   what the code can't hold is lost even without noise.
# - 2 points: draws a new standard deviation for every image (or batch) in training, over the whole
#   range; may add that the model can also be told how strong the noise is.
#
# **A model answer.** The model has seen thousands of digits, and answers with the mean of those
# that the noisy image could have come from: where noise has torn a hole into a stroke, a stroke is
# what usually stands there. With more noise than 0.5, bright pixels join to blots such as it never
# met in training; it takes some of them for strokes and loses real ones, and the error grows
# quickly. With less, the error falls only to about 0.01: the model still treats its input as
# unreliable, and the small code loses details even of a clean image. Drawing another standard
# deviation for every image in training, from 0 to 2, say, would make it meet all of these cases.
