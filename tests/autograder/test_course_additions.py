"""Packages and files that a course adds: students may use them, and the grader has them too."""

import io
import zipfile
from pathlib import Path

import pytest
from test_course_file import course  # noqa: F401

from autograder.build.copy import copy_course
from autograder.build.notebooks import build, out_of_date
from autograder.course.additions import added_modules, expect_additions
from autograder.course.locate import CourseError
from autograder.exporting.gradescope import build_autograder
from autograder.grading import judge
from autograder.quality import corpus
from autograder.quality.corpus import CorpusSubmission, Edit
from autograder.records.results import Result

A, FIND = (
    "08_elbo_vae",
    "        return torch.sum(0.5 * (mu**2 + sigma**2 - 1) - logsigma, dim=1)\n",
)
FILES = '[course]\nfiles = ["halves.py", "half.txt"]\n'
HALVES = "import scipy\nfrom pathlib import Path\n\ndef half():\n    return {}\n"


def write(root: Path, half: str) -> None:
    (root / "halves.py").write_text(HALVES.format(half))
    (root / "half.txt").write_text("0.5")


def graded(folder: Path, first_line: str, half: str, beside: dict[str, str]) -> Result:
    """Grade a KL that gets its factor ½ in some way."""
    text = f"        {first_line}\n        half = {half}\n"
    text += "        return torch.sum(half * (mu**2 + sigma**2 - 1) - logsigma, dim=1)\n"
    made = corpus.make(A, CorpusSubmission("ada", "", edits=(Edit("vae", FIND, text),)))
    path = corpus.write(made, folder, "ada", A)
    for name, content in beside.items():
        (path.parent / name).write_text(content)
    return judge.grade(path, A, "ada", train=False)


def failed(result: Result) -> set[str]:
    return {check.task for check in result.checks if check.outcome == "failed"}


def test_a_submission_imports_the_courses_module_and_reads_its_file(course, tmp_path):  # noqa: F811
    """Without the course's files, it cannot."""
    root = course(FILES)
    write(root, "float(Path('half.txt').read_text())")
    result = graded(tmp_path, "import halves", "halves.half()", {})
    assert failed(result) == set()
    assert result.notes == ()
    course("")
    assert failed(graded(tmp_path, "import halves", "halves.half()", {})) == {"kl_divergence"}


def test_a_students_file_does_not_replace_the_courses(course, tmp_path):  # noqa: F811
    write(course(FILES), "0.5")
    beside = {"halves.py": "def half():\n    return 2.0\n"}
    assert failed(graded(tmp_path, "import halves", "halves.half()", beside)) == set()
    course("")
    found = failed(graded(tmp_path, "import halves", "halves.half()", beside))
    assert found == {"kl_divergence"}


def test_an_import_rule_allows_the_packages_of_the_course(course, tmp_path):  # noqa: F811
    course('[course]\npackages = ["fractions"]')
    half = "float(fractions.Fraction(1, 2))"
    assert failed(graded(tmp_path, "import fractions", half, {})) == set()
    course("")
    assert failed(graded(tmp_path, "import fractions", half, {})) == {"kl_divergence"}


def test_students_and_gradescope_get_the_files(course):  # noqa: F811
    root = course(FILES)
    write(root, "0.5")
    assert root / "notebooks/halves.py" in build(["00_reparameterization"])
    assert (root / "notebooks/half.txt").read_text() == "0.5"
    (root / "notebooks/half.txt").write_text("2")
    assert any(
        "half.txt is not the file" in said for said in out_of_date(["00_reparameterization"])
    )
    with zipfile.ZipFile(io.BytesIO(build_autograder("00_reparameterization"))) as archive:
        assert archive.read("grader/halves.py").decode() == HALVES.format("0.5")
    assert (copy_course(root / "copy") / "halves.py").read_text() == HALVES.format("0.5")
    course('[course]\npackages = ["sklearn"]')
    with zipfile.ZipFile(io.BytesIO(build_autograder("00_reparameterization"))) as archive:
        assert "scikit-learn==" in archive.read("requirements.txt").decode()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('packages = ["no_such_package"]', "names no_such_package, which is not installed here"),
        ('files = ["no_such.py"]', "no_such.py: No such file"),
        ('files = ["a/x.py", "x.py"]', "two files of `course.files` have the name x.py"),
        ('files = ["not-a-name.py"]', "no module can have this name"),
        ('files = ["latin.py"]', "latin.py of `course.files` is not UTF-8"),
        ('files = ["odd.py"]', "odd.py of `course.files` is no Python: invalid syntax"),
        ('files = ["large.bin"]', "have 17 MiB; expected at most 16 MiB"),
    ],
)
def test_what_is_missing_or_wrong_stops_grading_with_one_line(text, says, course):  # noqa: F811
    root = course(f"[course]\n{text}")
    (root / "a").mkdir()
    for name in ("a/x.py", "x.py", "not-a-name.py"):
        (root / name).write_text("")
    (root / "latin.py").write_bytes(b"# \xe9")
    (root / "odd.py").write_text("1 +")
    (root / "large.bin").write_bytes(bytes(17 << 20))
    with pytest.raises(CourseError, match=says):
        expect_additions()


def test_a_course_without_additions_has_none(course):  # noqa: F811
    course("")
    assert added_modules() == {}
