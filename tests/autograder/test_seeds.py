"""The random inputs of checks: repeatable with the secret, and unknown without it."""

import stat

import pytest
import torch

from autograder.checks.seeds import seed_torch, submission_key
from autograder.grading.batch import BatchError
from autograder.reports.output_folder import OutputFolder

DIGEST = "ab" * 32


def drawn(key: bytes, name: str) -> torch.Tensor:
    with torch.random.fork_rng(devices=[]):
        seed_torch(key, name)
        return torch.cat([torch.rand(700), torch.randn(7)])


def test_inputs_depend_on_secret_file_and_name_and_on_nothing_else():
    torch.manual_seed(5)
    torch.randn(3)  # leaves a number for the next call
    one = drawn(submission_key(b"s" * 32, DIGEST), "shape")
    assert torch.equal(one, drawn(submission_key(b"s" * 32, DIGEST), "shape"))
    others = [
        drawn(submission_key(b"t" * 32, DIGEST), "shape"),
        drawn(submission_key(b"s" * 32, "cd" * 32), "shape"),
        drawn(submission_key(b"s" * 32, DIGEST), "shapes"),
    ]
    assert all(not torch.equal(one, other) for other in others)


def test_no_seed_of_32_bits_gives_the_same_generator():
    """All 624 words differ from those that `torch.manual_seed` computes from their first one."""
    with torch.random.fork_rng(devices=[]):
        seed_torch(b"key", "shape")
        words = torch.get_rng_state().numpy()[24 : 24 + 8 * 624].view("<u8")
        torch.manual_seed(int(words[0]))
        other = torch.get_rng_state().numpy()[24 : 24 + 8 * 624].view("<u8")
    assert words[0] == other[0]
    assert (words[1:] != other[1:]).all()


def test_uniform_numbers_of_many_keys_are_uniform():
    """The first number of 2,000 keys: mean and variance within six standard errors."""
    first = torch.stack([drawn(str(n).encode(), "x")[0] for n in range(2000)]).double()
    assert abs(float(first.mean()) - 1 / 2) < 6 * (1 / 12 / 2000) ** 0.5
    assert abs(float(first.var()) - 1 / 12) < 6 * (1 / 180 / 2000) ** 0.5


def test_an_output_folder_keeps_its_secret(tmp_path):
    one, other = OutputFolder(tmp_path / "a"), OutputFolder(tmp_path / "b")
    for out in (one, other):
        out.folder.mkdir()
    assert one.secret() == OutputFolder(tmp_path / "a").secret() != other.secret()
    assert len(one.secret()) == 32
    assert stat.S_IMODE((tmp_path / "a" / ".secret").stat().st_mode) == 0o600
    assert [path.name for path in one.folder.iterdir()] == [".secret"]


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_damaged_secret_is_one_clear_line(tmp_path, content):
    (tmp_path / ".secret").write_bytes(content)
    with pytest.raises(BatchError, match=r"\.secret should have 32 bytes"):
        OutputFolder(tmp_path).secret()
    (tmp_path / ".secret").unlink()
    (tmp_path / ".secret").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BatchError, match=r"\.secret cannot be read"):
        OutputFolder(tmp_path).secret()
