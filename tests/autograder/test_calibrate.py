"""The calibration table shows every saved run and the loss that it reached."""

from dataclasses import replace

from autograder.checks.registry import load_checks
from autograder.quality import calibrate
from autograder.quality.calibrate import Run

RUN = Run(
    assignment="a",
    data="mnist",
    source="full",
    images=60_000,
    seed=0,
    parameters=1_000,
    below=120.0,
    unit="nats per image",
    digits=1,
    losses=(150.0, 119.9, 118.2),
    test_loss=117.04,
    seconds=31.4,
    more={"agreement": 0.9},
)


def test_a_run_names_the_first_epoch_below_the_threshold():
    assert RUN.reached == 2
    assert replace(RUN, losses=(150.0, 120.0)).reached is None


def test_each_seed_is_saved_once_and_the_table_shows_them_in_one_cell(tmp_path):
    path = tmp_path / "docs" / "calibration.json"
    calibrate.save_run(replace(RUN, losses=(1.0,)), path)
    calibrate.save_run(replace(RUN, seed=1, losses=(150.0, 140.0, 121.0)), path)
    runs = calibrate.save_run(RUN, path)
    assert runs == calibrate.load_runs(path) == [RUN, replace(RUN, seed=1, losses=(150, 140, 121))]
    spec = replace(load_checks("03_fc_vae").module.SPEC, headline=116.5, remark="A short run.")
    lines = calibrate.as_markdown(runs, {"a": spec, "b": spec}).splitlines()
    (row,) = [line for line in lines if line.startswith("| `")]
    assert (
        "| 2, none of 3 | 118.2, 121.0 | 117.04, 117.04 | 116.5, reached by 0 of 2 "
        "| agreement 0.900, 0.900 | 31, 31 |" in row
    )
    assert lines[-1] == "- `a`: A short run."
    assert "| 120 nats per image |" in row


def test_a_reference_is_trained_with_the_seed_and_measured_by_the_judge():
    spec = load_checks("03_fc_vae").module.SPEC
    short = replace(spec, epochs=1)
    lines: list[str] = []
    one, two = (
        calibrate.train("03_fc_vae", short, seed, "embedded", lines.append) for seed in (1, 2)
    )
    assert one.losses != two.losses
    assert one.images == 9_000
    assert 150 < one.losses[0] < 300
    assert 120 < one.test_loss < one.losses[0]
    assert lines[0] == f"03_fc_vae, seed 1: {one.losses[0]:.1f} nats per image"


def test_the_full_set_may_have_its_own_threshold():
    spec = load_checks("08_elbo_vae").module.SPEC
    assert (spec.threshold("full"), spec.threshold("embedded")) == (112.0, 125.0)
    assert replace(spec, below_full=None).threshold("full") == 125.0
