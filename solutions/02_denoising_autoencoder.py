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
# *Difficulty: ●●○○○ · about 75 minutes · {{total}} points*
#
# A photograph taken at night is noisy, but you still see what it shows: you know what the world
# looks like without noise. A **denoising autoencoder** learns this from examples. Its input is a
# noisy image, and its target is the clean image. The noise destroys a part of every stroke. So the
# model can restore an image only if it knows what digits look like.
#
# The model consists of convolutions and is small: it may have {{budget}} parameters. This is a
# hundredth of the limit for the fully connected autoencoder. You will add noise to images, build
# the network, train it in under a minute, and test it with more noise than in training.
#
# | what is checked | limit |
# | --- | --- |
# | trainable parameters | at most {{budget}} |
# | training loss, mean squared error | below {{below}} within {{epochs}} epochs |
# | values in a code | fewer than the 784 of an image |
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
# MNIST contains grey images of digits, 28 × 28 pixels each, with values in [0, 1]. The course
# includes a small part of it. Set `source = "full"` for all 60,000 training images (they are
# downloaded once).

# %% run="data"
seed_everything(0)
source = "auto"
train_set = load_dataset("mnist", source=source)
test_set = load_dataset("mnist", train=False, source=source)
test_images = test_set.images / 255
plot_samples(train_set.images, train_set.labels, title="MNIST, without noise")

# %% [markdown]
# ## Noise
#
# To train the model we need noisy images. Add an independent Gaussian number to every pixel of
# every image. Then clip the values that are outside the range of a pixel:
#
# $$\tilde{x} = \mathrm{clip}\big(x + s\,\varepsilon,\ 0,\ 1\big), \qquad
# \varepsilon \sim \mathcal{N}(0, I),$$
#
# with the standard deviation $s$ = 0.5 in training. (Vincent et al. 2008, section 2, set some
# pixels to zero instead. The idea is the same.) The clean image is needed again later, so
# `add_noise` must not change it.
#
# <details><summary>A hint</summary>
#
# `torch.randn_like` samples as many numbers as a tensor has, on the same device and with the same
# dtype. Methods whose names end in an underscore change the tensor itself.
# </details>


# %% solution="my_noise"
def add_noise(x, std=0.5):
    """Add Gaussian noise to images and clip the sum.

    Args:
        x: Images in [0, 1], of any shape. They do not change.
        std: Standard deviation of the noise, before clipping.

    Returns:
        New images of the same shape, on the same device, in [0, 1], with new noise in every call.
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
    title="The same digits, with increasing noise",
)

# %% [markdown]
# ## The model
#
# Encoder and decoder use convolutions instead of linear layers. A convolution looks at one small
# patch at a time, and uses the same few weights for every patch. It recognises a stroke in the same
# way everywhere in the image. That is why so few parameters are enough.
#
# **The encoder** has three blocks of `nn.Conv2d`, `nn.BatchNorm2d` and `nn.LeakyReLU`. After each
# block, a pooling layer halves height and width (rounded down): 28 → 14 → 7 → 3. The output is the
# **bottleneck**: $C$ channels of 3 × 3 values, and $9\,C$ must be less than 784. If the bottleneck
# is too large, it also keeps the noise. If it is too small, it loses the shape of the strokes.
#
# **The decoder** goes back to 28 × 28 with three `nn.ConvTranspose2d`. With kernel size $k$, stride
# $s$, padding $p$ and output padding $o$, a side of length $n$ becomes
#
# $$n' = (n - 1)\,s - 2p + k + o.$$
#
# BatchNorm and LeakyReLU follow the first two transposed convolutions. A sigmoid follows the third,
# because pixels are in [0, 1].
#
# *Erratum.* The homework that this assignment is based on puts BatchNorm and LeakyReLU after the
# third transposed convolution too. Leave both out there. LeakyReLU multiplies negative values by
# 0.01. So the inputs of the sigmoid are positive or only slightly below 0, and its outputs cannot
# be much below ½. But most pixels of every image are black, so the model cannot output them. A
# model of this size, built as the homework says, still had a loss of 0.21 after six epochs.
#
# <details><summary>A hint for each TODO</summary>
#
# - **encoder**: with padding, a convolution keeps the size of the image: for kernel size 3, use
#   padding 1. Use few channels where the image is large, because this saves time. More channels
#   where the image is small cost little.
# - **decoder**: 3 → 7 is (3 − 1) · 2 + 3: kernel size 3, stride 2, no padding. For 7 → 14 → 28, use
#   the formula above to find a kernel size and a padding that double a side.
# - **forward**: one line is enough. Return only the image.
# </details>


# %% solution="denoise_ae"
class DenoiseAE(nn.Module):
    """A small convolutional autoencoder for 28 × 28 images; the constructor has no arguments.

    Attributes:
        encoder: Maps images (N, 1, 28, 28) to codes with fewer than 784 values for each image.
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
        """Encode the images and decode their codes, without adding noise.

        Calls `self.encoder` and `self.decoder`.

        Args:
            x: Images, noisy or not, (N, 1, 28, 28), in [0, 1].

        Returns:
            Only the denoised images x_hat, (N, 1, 28, 28).
        """
        # TODO forward
        ### BEGIN SOLUTION
        return self.decoder(self.encoder(x))
        ### END SOLUTION


# %% [markdown]
# ### Check each part
#
# The grader tests each part alone, with known values as its inputs. So an error in one part does
# not cost points in another part. Correct the class above, run its cell again, and check again.

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
# The loss is the **mean squared error** over all images and pixels, as for the plain autoencoder.
# The difference is what we compare. The input of the model $g \circ f$ is the noisy image, but its
# output is compared with the *clean* image (Vincent et al. 2008, section 2):
#
# $$\mathcal{L} = \mathrm{MSE}(\hat{x},\ x), \qquad \hat{x} = g\big(f(\tilde{x})\big).$$
#
# If you compared the output with $\tilde{x}$, the model would learn to reproduce the noise.
#
# Some values for comparison: the noisy images themselves have an error of 0.12. The mean image of
# all digits has 0.067. Below 0.025, you can read the digits again.
#
# <details><summary>A hint</summary>
#
# `criterion` is the same as for the plain autoencoder. `denoising_loss` needs three lines: add
# noise, denoise, compare. Use its arguments `corrupt` and `criterion`, not the global functions.
# Then you can try the function with other noise, and the check can do so too.
# </details>


# %% solution="my_loss"
# TODO criterion: a callable; criterion(x_hat, x) returns the mean squared error, a scalar.
### BEGIN SOLUTION
criterion = nn.MSELoss()
### END SOLUTION


def denoising_loss(model, x, corrupt, criterion):
    """Measure how well a model restores clean images from noisy ones.

    Args:
        model: Maps images to images, such as a `DenoiseAE`.
        x: Clean images, (N, 1, 28, 28).
        corrupt: Makes noisy images from clean ones, such as `add_noise`. Call it with the clean
            images as its only argument.
        criterion: Compares two batches of images.

    Returns:
        The tuple (loss, x_hat): the result of `criterion`, and the denoised images
        (N, 1, 28, 28).
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
# Choose a batch size, a number of epochs and an optimizer. Smaller batches give more updates in an
# epoch, and only the number of epochs is limited. Models with BatchNorm work with larger learning
# rates than models without it: try 2e-3.

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
print(f"{count_parameters(model):,} trainable parameters")
print(f"{model.encoder(test_images[:1]).numel()} values in a code; an image has 784.")

# %% test="parameter_budget"
check("parameter_budget")


# %% setup="train_step"
def train_step(model, optimizer, x):
    """Update the parameters once.

    Args:
        model: A `DenoiseAE`.
        optimizer: The optimizer of its parameters.
        x: Clean images, (N, 1, 28, 28), in [0, 1].

    Returns:
        The tuple (loss, x_hat): the loss before the update, and its denoised images.
    """
    loss, x_hat = denoising_loss(model, x, add_noise, criterion)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss, x_hat


# %% [markdown]
# The loop below is the complete training. It stores one number for each epoch: the mean loss over
# the images. Every batch gets new noise. So the model never sees the same noisy image twice, and
# cannot memorise one.
#
# - **Good**: the loss is below 0.07 in the first epoch, and below {{below}} a few epochs later.
#   Then it falls slowly.
# - **Bad**: the loss stays near 0.067. The model outputs the mean of all digits for every image.
# - **Bad**: the loss stays near 0.2. The model cannot output black. Which layers are between your
#   last convolution and the sigmoid?

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
    {"training": train_losses},
    threshold=0.025,  # {{below}}
    title="Training loss",
    y_label="mean squared error",
)

# %% [markdown]
# This check tests the model that you have just trained. For your grade, your model is trained again
# from scratch, with your settings, on the grader's own digits.

# %% test="training"
check("training")

# %% [markdown]
# ## What has it learned?
#
# The next figure shows test digits with new noise. The model has seen neither of them in training.
# From here on the model is in eval mode: BatchNorm uses the statistics from training, so the output
# for one image does not depend on the other images of the batch. In a good result, the strokes are
# smooth and slightly soft, on a clean black background. Remaining noise or a grey background means
# that the model has not learned enough.

# %% run="denoised"
model.eval()
noisy_images = add_noise(test_images)
with torch.no_grad():
    denoised = model(noisy_images)
plot_reconstructions(
    {"noisy": noisy_images, "denoised": denoised, "clean": test_images},
    title="Test digits: input, output of the model, target",
)

# %% [markdown]
# ### Is that better than a blur?
#
# There is a method without any learning: replace each pixel by the mean of a small neighbourhood.
# Much of the noise cancels, but the strokes become blurred. Compare your model with such a simple
# method. Without a comparison, its error alone does not tell you much.

# %% run="rivals"
rivals = {
    "noisy, unchanged": noisy_images,
    "mean of 3 × 3 pixels": F.avg_pool2d(noisy_images, 3, stride=1, padding=1),
    "mean of 5 × 5 pixels": F.avg_pool2d(noisy_images, 5, stride=1, padding=2),
    "your model": denoised,
}
print("mean squared error on test digits")
for name, images in rivals.items():
    print(f"  {name:22} {F.mse_loss(images, test_images).item():.4f}")
plot_reconstructions(rivals | {"clean": test_images}, title="The results of each method")

# %% [markdown]
# ### More noise than in training
#
# The model was trained with one amount of noise, a standard deviation of 0.5. The next figure shows
# one digit with less noise and with more noise.

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
    title="One digit, with noise from std 0.1 to 2 (training: 0.5)",
)

# %% [markdown]
# ## In your own words ({{answers}} points, graded by a person)
#
# Look at the last figure and at its errors. Answer in three to five sentences:
#
# - The noise has destroyed some strokes. Where does the model get the information to restore them?
# - What happens with less noise and with more noise than in training, and why?
# - How would you change the training, so that the model works well for all amounts of noise?

# %% [markdown] answer="other_noise_levels" points=10
# **Rubric**
#
# - 4 points: The lost strokes come from the training set. The mean squared error is smallest for
#   the mean of all clean digits that could have led to this noisy image. So the model fills in what
#   is usually at this place. The bottleneck is too small to pass on the pixels unchanged.
# - 4 points: The answer says what the figure shows on both sides, and why. With more noise, the
#   patches differ from all patches in training: strokes break up and false strokes appear. With
#   less noise, the error falls a little and then stays constant: the model never learned to trust
#   its input more, and details that the code cannot hold are lost even without noise.
# - 2 points: In training, sample a new standard deviation for every image (or batch), over the
#   whole range. The answer may add that the model can also get the standard deviation as an input.
#
# **A model answer.** The model has seen thousands of digits, and its output is the mean of those
# that the noisy image could have come from: it fills a gap in a stroke, because such places usually
# belong to a stroke. With more noise than 0.5, bright pixels join into blobs that did not occur in
# training. The model takes some of them for strokes and loses real strokes, and the error grows
# quickly. With less noise, the error falls only to about 0.01: the model still treats its input as
# unreliable, and the small code loses details even of a clean image. To train for all these cases,
# sample a new standard deviation for every image, for example between 0 and 2.

# %% [markdown]
# ## What next
#
# - Vincent 2011, *A connection between score matching and denoising autoencoders*, Neural
#   Computation 23. For Gaussian noise without clipping, the difference between the denoised and the
#   noisy image, divided by the noise's variance, estimates the gradient of the log-density of noisy
#   images.
# - Ho, Jain & Abbeel 2020, *Denoising diffusion probabilistic models*, arXiv:2006.11239. One
#   network learns to denoise at every amount of noise. New images are made by starting with noise
#   and removing a little of it in each step.
# - Lehtinen et al. 2018, *Noise2Noise: learning image restoration without clean data*,
#   arXiv:1803.04189. Its targets are other noisy copies of the image: the mean of the noise is
#   zero, so the best output is still the clean image.
