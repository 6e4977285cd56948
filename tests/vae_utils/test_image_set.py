"""ImageSet: indexing, subsets and splits keep each image with its label."""

import pytest
import torch

from vae_utils import ImageSet


@pytest.fixture
def numbered():
    """Return 50 images, each filled with its own label."""
    labels = torch.arange(50)
    images = labels.to(torch.uint8)[:, None, None, None].expand(50, 1, 4, 4).contiguous()
    return ImageSet(images, labels, name="mnist", origin="embedded")


def keeps_labels_with_images(image_set):
    return torch.equal(image_set.images[:, 0, 0, 0].long(), image_set.labels)


def test_an_item_is_an_image_and_a_plain_number(numbered):
    image, label = numbered[-1]
    assert image.shape == (1, 4, 4)
    assert label == 49
    assert isinstance(label, int)


def test_slices_and_index_tensors_return_sets(numbered):
    assert numbered[10:13].labels.tolist() == [10, 11, 12]
    assert numbered[torch.tensor([3, 1])].labels.tolist() == [3, 1]
    assert numbered[numbered.labels < 2].labels.tolist() == [0, 1]


def test_a_subset_has_no_repeats_and_depends_on_the_seed(numbered):
    selected = numbered.subset(30, seed=4)
    assert len(selected.labels.unique()) == 30
    assert keeps_labels_with_images(selected)
    assert torch.equal(selected.labels, numbered.subset(30, seed=4).labels)
    assert not torch.equal(selected.labels, numbered.subset(30, seed=5).labels)


def test_split_uses_every_image_once(numbered):
    train, validation = numbered.split(0.2, seed=1)
    assert (len(train), len(validation)) == (40, 10)
    assert sorted([*train.labels.tolist(), *validation.labels.tolist()]) == list(range(50))
    assert keeps_labels_with_images(train)
    assert keeps_labels_with_images(validation)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 0.001])
def test_split_leaves_no_part_empty(numbered, fraction):
    with pytest.raises(ValueError, match="both parts non-empty"):
        numbered.split(fraction)


@pytest.mark.parametrize("n", [0, 51])
def test_subset_of_an_impossible_size(numbered, n):
    with pytest.raises(ValueError, match="1 to 50 images"):
        numbered.subset(n)


def test_floats_and_flat_rows_are_refused():
    with pytest.raises(ValueError, match="dtype uint8 and shape"):
        ImageSet(torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64), "mnist", "embedded")
    with pytest.raises(ValueError, match=r"labels of dtype int64 and shape \(2,\)"):
        ImageSet(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2), "mnist", "embedded")


def test_a_torch_dataloader_takes_it(numbered):
    x, y = next(iter(torch.utils.data.DataLoader(numbered, batch_size=5)))
    assert x.shape == (5, 1, 4, 4)
    assert y.tolist() == [0, 1, 2, 3, 4]
