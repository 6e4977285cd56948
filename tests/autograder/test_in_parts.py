"""A method that several tasks test: an exception in one of its statements stops one part only."""

import pytest

from autograder.checks.shared.in_parts import _written_in_parts, names_before
from autograder.protocol.remote import Submission

SOURCE = """
class Model:
    def forward(self, x):
        '''Return three values.'''
        with torch.no_grad():
            first = x + 1
            second = x.missing()
        if x < 0:
            return first, second, None
        third = first * 2
        return first, second + 1, third
"""


class Any:
    """A context manager in the place of `torch.no_grad()`."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False

    @classmethod
    def no_grad(cls):
        return cls()


def in_parts(source: str, *args: object) -> object:
    """Run the written method of `Model`."""
    text = _written_in_parts(["x = (", source], "Model", "forward")
    assert text is not None
    names = {"torch": Any}
    exec(f"{source}\n{text}", names)
    return names["Model"]()._in_parts(*args)


def test_a_statement_that_raises_is_skipped_and_what_needs_it_is_missing():
    assert in_parts(SOURCE, 3, {}, False) == (4, None, 8)


def test_a_known_value_takes_the_place_of_one_that_raises():
    assert in_parts(SOURCE, 3, {"second": 10}, False) == (4, 11, 8)
    assert in_parts(SOURCE, 3, {"first": 10}, False) == (4, None, 8)


def test_a_known_value_may_replace_one_that_is_computed():
    assert in_parts(SOURCE, 3, {"third": 10}, True) == (4, None, 10)


def test_the_names_before_a_variable_include_those_of_a_with_block():
    submission = Submission(lambda *_: iter(()), "06_vq_vae")
    submission.sources = {"model": SOURCE}
    assert names_before(submission, "Model", "forward", ("second", "third")) == ("first",)
    assert names_before(submission, "Model", "forward", ("third",)) == ("first", "second")
    assert names_before(submission, "Model", "forward", ("fourth",)) == ()
    assert names_before(submission, "Other", "forward", ("third",)) == ()


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (SOURCE, "Other"),
        (SOURCE.replace("forward", "call"), "Model"),
        (SOURCE.replace("self, x", "self, x, y"), "Model"),
        ("class Model(Base):\n    pass\n", "Model"),
    ],
)
def test_a_method_that_is_not_in_the_text_is_not_written(source, name):
    assert _written_in_parts([source], name, "forward") is None


def test_a_text_that_no_parser_reads_is_left_out():
    """A submission must not cause an error of the grader."""
    method = "class VAE:\n    def calc_elbo(self, x):\n        a = x\n        return a, a\n"
    hostile = ("-" * 200_000 + "1", "x = '\0'", "(" * 5_000)
    written = _written_in_parts((*hostile, method), "VAE", "calc_elbo")
    assert written is not None
    assert written == _written_in_parts((method,), "VAE", "calc_elbo")


@pytest.mark.parametrize(
    "line",
    [
        "y = " + "+".join("1" * 700),
        "y = x" + ".detach()" * 400,
        "y = 0x" + "f" * 6000,
        "if x: pass\n" + "".join(f"        elif x == {n}: pass\n" for n in range(300)),
    ],
)
def test_a_text_that_is_too_deep_or_too_long_is_no_error_of_the_grader(line):
    """The exception of the method itself is the verdict then."""
    method = f"class VAE:\n    def calc_elbo(self, x):\n        {line}\n        return x, x\n"
    compile(method, "x", "exec")
    try:
        written = _written_in_parts([method], "VAE", "calc_elbo")
    except Exception as error:
        pytest.fail(f"{type(error).__name__}: {error}")
    if written:
        compile(written, "x", "exec")
