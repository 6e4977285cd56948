"""The loader: it has a DataLoader's interface, shuffles reproducibly and converts exactly."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset
from torchvision import datasets, transforms

from vae_utils import ImageSet, load_dataset, make_loader


@pytest.fixture(scope="module")
def digits():
    return load_dataset("mnist", quiet=True).subset(300)


def numbered(n=100):
    """Return n images, each filled with its own number, which is also its label."""
    labels = torch.arange(n)
    return ImageSet(labels.to(torch.uint8).reshape(n, 1, 1, 1), labels, "mnist", "embedded")


def order(loader):
    return torch.cat([y for _, y in loader]).tolist()


def test_the_interface_is_that_of_a_dataloader(digits):
    loader = make_loader(digits, batch_size=64)
    x, y = next(iter(loader))

    assert x.shape == (64, 1, 28, 28)
    assert x.dtype == torch.float32
    assert y.dtype == torch.int64
    assert len(loader) == len(list(loader)) == 5
    assert loader.batch_size == 64
    assert loader.dataset is digits


def test_values_are_those_of_totensor(digits):
    x, y = next(iter(make_loader(digits, batch_size=300, shuffle=False)))
    for index in range(0, 300, 50):
        array = digits.images[index, 0].numpy()
        assert torch.equal(x[index], transforms.ToTensor()(array))
    assert torch.equal(y, digits.labels)


def test_every_epoch_has_each_image_once_with_its_label():
    loader = make_loader(numbered(), batch_size=7)
    images = torch.cat([x for x, _ in loader]) * 255
    assert sorted(order(loader)) == list(range(100))
    assert sorted(images.flatten().round().long().tolist()) == list(range(100))
    for x, y in loader:
        assert torch.equal((x.flatten() * 255).round().long(), y)


def test_epochs_differ_and_a_seed_repeats_them():
    loader, again = (make_loader(numbered(), seed=3) for _ in range(2))
    epochs = [order(loader) for _ in range(3)]

    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs == [order(again) for _ in range(3)]
    assert order(make_loader(numbered(), seed=4)) not in epochs


def test_order_does_not_depend_on_torchs_random_state():
    torch.manual_seed(0)
    first = order(make_loader(numbered()))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert order(make_loader(numbered())) == first
    assert torch.equal(torch.get_rng_state(), state)


def test_an_interrupted_run_continues_with_the_same_order():
    loader = make_loader(numbered())
    epochs = [order(loader) for _ in range(3)]
    resumed = make_loader(numbered())
    resumed.epoch = 2
    assert order(resumed) == epochs[2]


def test_without_shuffling_the_order_is_the_sets_own():
    loader = make_loader(numbered(), shuffle=False)
    assert order(loader) == order(loader) == list(range(100))


def test_a_batch_can_be_changed_without_changing_the_set(digits):
    before = digits.images.clone()
    for shuffle in (True, False):
        for x, _ in make_loader(digits, shuffle=shuffle):
            x.zero_()
    assert torch.equal(digits.images, before)


def test_a_batch_of_floats_can_be_changed_without_changing_the_set():
    images = torch.rand(10, 1, 2, 2)
    before = images.clone()
    for x, y in make_loader(images, shuffle=False):
        x.zero_()
        y.zero_()
    assert torch.equal(images, before)


def test_drop_last():
    assert len(make_loader(numbered(), batch_size=30)) == 4
    loader = make_loader(numbered(), batch_size=30, drop_last=True)
    assert [len(y) for _, y in loader] == [30, 30, 30]
    assert len(loader) == 3


def test_raw_yields_the_stored_bytes(digits):
    x, _ = next(iter(make_loader(digits, batch_size=300, shuffle=False, raw=True)))
    assert torch.equal(x, digits.images)


def test_dequantized_images_are_above_their_grey_level(digits):
    loader = make_loader(digits, batch_size=300, shuffle=False, dequantize=True)
    x, _ = next(iter(loader))
    noise = x.double() * 256 - digits.images

    assert 0 <= noise.min() < 0.001
    assert 0.999 < noise.max() <= 1
    assert abs(noise.mean() - 0.5) < 0.01
    assert not torch.equal(x, next(iter(loader))[0])


def test_transform_gets_scaled_batches(digits):
    seen = []

    def flatten(x):
        seen.append((x.shape, float(x.max())))
        return x.flatten(1)

    x, _ = next(iter(make_loader(digits, batch_size=100, transform=flatten)))
    assert x.shape == (100, 784)
    assert seen[0] == ((100, 1, 28, 28), 1.0)


@pytest.mark.parametrize(
    "transform",
    [transforms.ToTensor(), transforms.Compose([transforms.ToTensor()])],
    ids=["alone", "composed"],
)
def test_totensor_is_skipped(digits, transform):
    x, _ = next(iter(make_loader(digits, shuffle=False, transform=transform)))
    assert torch.equal(x, digits.images[:128] / 255)


def test_transforms_after_totensor_are_applied(digits):
    normalize = transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.5, 0.5)])
    x, _ = next(iter(make_loader(digits, shuffle=False, transform=normalize)))
    torch.testing.assert_close(x, digits.images[:128] / 255 * 2 - 1)


def test_torchvision_dataset_with_its_own_transform(idx_folder):
    root, arrays = idx_folder
    dataset = datasets.MNIST(str(root), transform=transforms.ToTensor())
    x, y = next(iter(make_loader(dataset, shuffle=False)))

    assert x.dtype == torch.float32
    np.testing.assert_array_equal((x[:, 0] * 255).round(), arrays["train"][0])
    assert y.tolist() == arrays["train"][1].tolist()


def test_torchvision_dataset_without_transform_stays_uint8(idx_folder):
    root, arrays = idx_folder
    x, _ = next(iter(make_loader(datasets.MNIST(str(root)), shuffle=False, raw=True)))
    np.testing.assert_array_equal(x[:, 0], arrays["train"][0])


def test_a_fixed_dataset_is_read_once_a_random_one_every_epoch():
    class Noisy(torch.utils.data.Dataset):
        def __init__(self, scale):
            self.scale, self.reads = scale, 0

        def __len__(self):
            return 40

        def __getitem__(self, index):
            self.reads += 1
            return torch.full((1, 2, 2), float(index)) + self.scale * torch.rand(1, 2, 2), index

    fixed, noisy = Noisy(0.0), Noisy(0.5)
    fixed_loader, noisy_loader = (make_loader(d, 40, shuffle=False) for d in (fixed, noisy))
    reads = fixed.reads

    a, b = (next(iter(fixed_loader))[0] for _ in range(2))
    assert torch.equal(a, b)
    assert fixed.reads == reads

    a, b = (next(iter(noisy_loader))[0] for _ in range(2))
    assert not torch.equal(a, b)
    assert torch.equal(a.floor(), b.floor())


def test_probing_for_randomness_leaves_torchs_random_state():
    state = torch.get_rng_state()
    make_loader(TensorDataset(torch.rand(5, 3), torch.arange(5)))
    torch.set_rng_state(state)
    expected = torch.rand(5, 3)
    torch.set_rng_state(state)
    loader = make_loader(TensorDataset(torch.zeros(5, 3), torch.arange(5)))
    assert len(loader) == 1
    assert torch.equal(torch.rand(5, 3), expected)


def test_plain_tensors_with_and_without_labels():
    images = torch.rand(6, 1, 2, 2)
    x, y = next(iter(make_loader((images, torch.arange(6)), shuffle=False)))
    assert torch.equal(x, images)
    assert y.tolist() == [0, 1, 2, 3, 4, 5]
    assert next(iter(make_loader(images)))[1].tolist() == [-1] * 6


def test_images_with_nan_are_refused():
    images = torch.rand(10, 1, 2, 2)
    images[3, 0, 0, 0] = float("nan")
    images[7, 0, 1, 1] = float("inf")
    with pytest.raises(ValueError, match=r"2 of 10 images contain NaN .* first at index 3"):
        make_loader(images)


@pytest.mark.parametrize("batch_size", [0, -5, 2.5])
def test_wrong_batch_size(batch_size):
    with pytest.raises(ValueError, match="batch_size must be a whole number"):
        make_loader(numbered(), batch_size=batch_size)


def test_options_that_exclude_each_other():
    with pytest.raises(ValueError, match="excludes dequantize"):
        make_loader(numbered(), raw=True, dequantize=True)
    with pytest.raises(ValueError, match="need uint8"):
        make_loader(torch.rand(5, 1, 2, 2), dequantize=True)


def test_arguments_that_are_no_data_set():
    with pytest.raises(TypeError, match=r"pass its .dataset"):
        make_loader(DataLoader(numbered()))
    with pytest.raises(TypeError, match="got int"):
        make_loader(3)
    with pytest.raises(ValueError, match="0 images"):
        make_loader(torch.empty(0, 1, 2, 2))
    with pytest.raises(TypeError, match="is not \\(image, label\\)"):
        make_loader([torch.zeros(1, 2, 2)] * 3)


def test_items_of_different_shapes():
    items = [(torch.zeros(1, 2, 2), 0), (torch.zeros(1, 3, 3), 1)]
    with pytest.raises(ValueError, match="differ in shape"):
        make_loader(items)
