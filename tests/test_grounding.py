"""The harness of the study: when a result still stands, what a cell leaves behind, what the tables say of it."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.grounding import ways
from benchmarks.grounding.cells import Cell, Condition, Data, Variant, changes, digest
from benchmarks.grounding.cli import Table, chosen
from benchmarks.grounding.data import prepare
from benchmarks.grounding.lerobot_peer import train_options
from benchmarks.grounding.lerobot_worker import read_message, write_message
from benchmarks.grounding.measure import seeds_of
from benchmarks.grounding.plots import draw_grid, draw_success, position_shares
from benchmarks.grounding.results import minutes_left, status, write_result
from benchmarks.grounding.run import Machine, run_cell
from benchmarks.grounding.table import BEGIN, END, markdown, rows_of, write_between_markers
from benchmarks.grounding.validation import judged
from benchmarks.grounding.validation import markdown as validation_table
from benchmarks.grounding.variants import GRID, HULL, LEROBOT, PRESET, study

from foreact.config import RunConfig
from foreact.data.sidecar import apply_calibration
from foreact.data.source import open_source
from foreact.errors import ConfigError, DataError
from foreact.policy.inputs import network_features
from foreact.presets import preset
from foreact.records import Camera, Features
from foreact.sim.calibration import calibration_of_task
from foreact.sim.env import PickPlaceEnv
from foreact.sim.layout import CLUSTER_RADIUS, CLUSTERS
from foreact.sim.outcome import OUTCOMES
from foreact.sim.record import RecordConfig
from foreact.sim.scene import ACTION_NAMES
from foreact.sim.task import CAMERAS, TaskConfig, level

SMALL = level("L1", cameras=("overhead",), overhead_size=(32, 32))


def small_cell(run: RunConfig, **changed: Any) -> Cell:
    data = Data(name="small", recording=RecordConfig(task=SMALL, episodes=3))
    variant = Variant(name="tiny", title="a tiny policy", run=run, samples_per_s=50)
    conditions = (Condition(name="L1", task=replace(SMALL, max_seconds=1.0), episodes=2),)
    return replace(Cell(data=data, variant=variant, seed=0, conditions=conditions), **changed)


# --- settings ---


def test_a_changed_option_is_named_with_both_values(tiny_run: RunConfig) -> None:
    before = small_cell(tiny_run)
    other = replace(tiny_run, policy=replace(tiny_run.policy, conditioning=("token", "frame")))
    now = replace(before, variant=replace(before.variant, run=other))
    assert changes(before.settings(), before.settings()) == []
    assert changes(before.settings(), now.settings()) == ["policy.conditioning token, frame instead of token"]


def test_an_option_that_older_results_do_not_know_is_no_change_at_its_default(tiny_run: RunConfig) -> None:
    now = small_cell(tiny_run).settings()
    older = json.loads(json.dumps(now))
    del older["policy"]["strong_bands"], older["data"]["recording"]["task"]["bowl"]
    assert changes(older, now) == []
    del older["policy"]["dim_model"]  # not at its default in this recipe
    assert changes(older, now) == ["policy.dim_model is new"]


def test_the_seed_and_the_episodes_count_but_names_and_titles_do_not(tiny_run: RunConfig) -> None:
    cell = small_cell(tiny_run)
    assert changes(cell.settings(), replace(cell, seed=1).settings()) == ["train.seed 1 instead of 0"]
    renamed = replace(cell, variant=replace(cell.variant, title="other"), data=replace(cell.data, name="other"))
    assert renamed.settings() == cell.settings()
    more = replace(cell, conditions=(replace(cell.conditions[0], episodes=5),))
    assert changes(cell.settings(), more.settings()) == ["conditions.L1.episodes 5 instead of 2"]


def test_a_digest_differs_with_the_settings_and_not_with_options_at_their_default(tiny_run: RunConfig) -> None:
    settings = small_cell(tiny_run).settings()
    without = json.loads(json.dumps(settings))
    del without["policy"]["strong_bands"]
    assert digest(without) == digest(settings)
    assert digest(small_cell(tiny_run, seed=1).settings()) != digest(settings)


# --- the study ---


def test_the_study_names_each_cell_once_and_patterns_choose_among_them() -> None:
    names = [cell.name for cell in study()]
    assert len(set(names)) == len(names)
    assert [cell.name for cell in chosen(())] == names
    assert [cell.name for cell in chosen(("uniform-L2_best_s*",))] == [f"uniform-L2_best_s{i}" for i in range(3)]
    with pytest.raises(ConfigError, match="no cell is named 'uniform-L9'"):
        chosen(("uniform-L9",))


def test_each_position_of_the_grid_comes_once_in_the_environment_itself() -> None:
    seeds = seeds_of(GRID)
    env = PickPlaceEnv(replace(GRID.task, cameras=()))
    targets = Counter(tuple(env.reset(seed=seed)[1]["target"].tolist()) for seed in seeds)
    assert isinstance(GRID.task.positions, tuple)
    assert targets == Counter(GRID.task.positions)
    assert len(targets) == 49


def test_positions_of_the_hull_lie_between_the_clusters() -> None:
    assert isinstance(HULL.task.positions, tuple)
    for position in HULL.task.positions:
        on_axis = [np.add(np.multiply(1 - t, CLUSTERS[0]), np.multiply(t, CLUSTERS[1])) for t in np.linspace(0, 1, 400)]
        assert min(float(np.linalg.norm(np.subtract(position, point))) for point in on_axis) < CLUSTER_RADIUS + 1e-3


def test_episodes_that_cannot_be_shared_out_among_positions_are_refused() -> None:
    with pytest.raises(ConfigError, match="50 episodes for 49 positions"):
        seeds_of(replace(GRID, episodes=50))


def test_lerobot_is_told_the_budget_the_chunk_and_the_training_episodes(dataset: Path, tmp_path: Path) -> None:
    run = LEROBOT.run
    options = train_options(run, data=dataset, out=tmp_path / "run")
    assert (options["steps"], options["batch_size"]) == (run.train.steps, run.train.batch_size)
    assert options["policy.chunk_size"] == run.policy.chunk_size
    assert options["optimizer.lr"] == run.train.lr
    assert len(options["dataset.episodes"]) == 5  # of six, one is held out
    seen = json.loads(options["policy.input_features"])
    assert {name for name in seen if "image" in name} == {"observation.images.overhead"}  # the data has a wrist camera


# --- a cell ---


def test_copies_repeat_each_trajectory_and_uninformed_coordinates_are_others(tmp_path: Path) -> None:
    data = Data(name="small", recording=RecordConfig(task=SMALL, episodes=2))
    plain = open_source(prepare(data, tmp_path, workers=1))
    copied = open_source(prepare(replace(data, copies=3, uninformed=0.5), tmp_path, workers=1))
    assert len(copied.episode_indices) == 6
    told = 0
    for index in copied.episode_indices:
        ours, first = copied.episode(index), plain.episode(index // 3)
        np.testing.assert_array_equal(ours.action, first.action)
        assert ours.environment_state is not None
        assert first.environment_state is not None
        told += bool(np.allclose(ours.environment_state, first.environment_state))
    assert told == 3
    assert copied.features.arm == plain.features.arm


def test_a_cell_is_computed_kept_and_found_stale(tiny_run: RunConfig, tmp_path: Path) -> None:
    short = replace(tiny_run, train=replace(tiny_run.train, steps=2, warmup_steps=0, val_every=2, save_every=2))
    cell = small_cell(short)
    machine = Machine(work=tmp_path / "work", results=tmp_path / "results", envs=1)
    assert status(cell, machine.results).word == "open"
    path = run_cell(cell, machine)
    result = json.loads(path.read_text())
    assert status(cell, machine.results).word == "done"
    assert result["training"]["samples"] == 8
    assert result["conditions"]["L1"]["episodes"] == 2
    assert sum(result["conditions"]["L1"]["outcomes"].values()) == 2
    assert path.stat().st_size < 20_000

    # what an interrupted call has done is not done again: the same minutes of training, the same episodes
    path.unlink()
    again = json.loads(run_cell(cell, machine).read_text())
    assert again["training"] == result["training"]
    assert again["conditions"] == result["conditions"]

    longer = replace(cell, variant=replace(cell.variant, run=replace(short, train=replace(short.train, lr=1e-4))))
    assert status(longer, machine.results).changes == ("train.lr 0.0001 instead of 0.001",)
    with pytest.raises(ConfigError, match=r"train\.lr 0\.0001 instead of 0\.001; --redo"):
        run_cell(longer, machine)
    run_cell(longer, machine, redo=True)
    assert status(longer, machine.results).word == "done"

    diagnosed = replace(longer, diagnose=True)
    assert status(diagnosed, machine.results).changes == ("the diagnosis is missing",)
    run_cell(diagnosed, machine)
    assert status(diagnosed, machine.results).word == "done"


def test_a_result_too_large_for_the_repository_is_refused(tiny_run: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at most 100000"):
        write_result(small_cell(tiny_run), {"per_episode": ["x" * 100_000]}, tmp_path)


def test_the_time_left_comes_from_cells_of_the_same_policy(tiny_run: RunConfig) -> None:
    cell = small_cell(tiny_run)  # 24 samples, 2 episodes
    assert minutes_left(cell, [], threads=1) == pytest.approx(24 / 50 / 60 + 2 * 0.015)
    known = [
        {
            "variant": "tiny",
            "training": {"minutes": 5.0, "samples": 12},
            "conditions": {"L1": {"minutes": 3.0, "episodes": 6}},
        }
    ]
    assert minutes_left(cell, known, threads=1) == pytest.approx(10 + 1)
    assert minutes_left(cell, known, threads=1, steps_done=3) == pytest.approx(5 + 1)


def test_messages_of_the_pipe_come_back_as_they_were() -> None:
    stream = io.BytesIO()
    sent: dict[str, np.ndarray] = {
        "observation.state": np.arange(6, dtype=np.float32),
        "image": np.zeros((2, 3, 3), np.uint8),
    }
    write_message(stream, sent)
    write_message(stream, {"chunk": np.ones((1, 2))})
    stream.seek(0)
    first, second = read_message(stream), read_message(stream)
    assert first is not None
    assert second is not None
    for name, array in sent.items():
        assert first[name].dtype == array.dtype
        np.testing.assert_array_equal(first[name], array)
    assert second["chunk"].shape == (1, 2)
    assert read_message(stream) is None


# --- tables and pictures ---


def result(variant: str, seed: int, successes: int, *, wrong: int = 0, episodes: int = 100) -> dict[str, Any]:
    outcomes = dict.fromkeys(OUTCOMES, 0)
    outcomes |= {"success": successes, "picked_confuser": wrong, "timeout": episodes - successes - wrong}
    lines = ["0.2000 0.1000 success 1.5"] * successes + ["0.1600 -0.0500 timeout -"] * (episodes - successes)
    condition = {
        "episodes": episodes,
        "successes": successes,
        "success_rate": successes / episodes,
        "outcomes": outcomes,
        "median_closing_error_mm": 4.0 + seed,
        "minutes": 1.0,
        "per_episode": lines,
    }
    return {
        "data": "uniform",
        "variant": variant,
        "title": f"the {variant}",
        "seed": seed,
        "training": {"samples": 1000, "minutes": 10 + seed},
        "diagnosis": None
        if variant == "blind"
        else {
            "swap": {
                "verdict": "uses the coordinate: yes: swap test 49 of 50",
                "severity": "fine",
                "obeyed": 49,
                "trials": 50,
            },
            "collapse": {"index": 0.0249},
        },
        "conditions": {"L1": condition},
    }


def test_a_table_pools_seeds_and_gives_their_wilson_interval() -> None:
    results = [result("best", 1, 98), result("best", 0, 92, wrong=4), result("blind", 0, 50)]
    rows = rows_of(results, {("uniform", "blind"): "blind, no pictures"})
    assert [row.variant for row in rows] == ["blind", "best"]
    text = markdown(rows)
    # 190 of 200: centre and half width of Wilson's formula by hand, 0.94152 and 0.03115
    assert "| the best | 2 | 95.0 % (91.0 to 97.3; 92, 98) | 1000 | 10 |" in text
    assert "| blind, no pictures | 1 | 50.0 % (40.4 to 59.6) | 1000 | 10 |" in text
    # wrong block 4 of 200, of which all picked it; 6 of 200 timed out; closing error the mean of 4 and 5
    assert "| the best | 0 | 49 of 50 | 0.02 | 92.0 |" in text
    assert "| the best | L1 | 200 | 2.0 | 95.0 | 0.0 | 2.0 | 0.0 | 0.0 | 0.0 | 3.0 | 4.5 |" in text


def test_ways_stand_side_by_side_where_at_least_two_were_measured() -> None:
    def of(data: str, variant: str, **successes: int) -> dict[str, Any]:
        found = result(variant, 0, 0)
        conditions = {"L1": "L1", "L2": "L2", "clusters": "clusters L1"}
        measured = {conditions[name]: {"successes": n, "confusions": n // 2} for name, n in successes.items()}
        return {**found, "data": data, "conditions": measured}

    metres = "copied-misled-L1"
    results = [
        of("uniform-L2", "film", L1=12, L2=34),
        of("uniform-L2", "baseline-short", L1=56, L2=78),
        of("uniform-L1", "film", L1=1, L2=2),
        of(metres, "film", clusters=3),  # with normalised coordinates: another experiment
        of(metres, "raw-cue", clusters=8),
        of(metres, "raw-film", clusters=90),
    ]
    _, sentence, *tables = ways.markdown(rows_of(results)).split("\n\n")
    assert sentence.startswith("The small network on the overhead camera, 1000 steps of 64")
    true, misled = (table.splitlines() for table in tables)
    assert true[0] == "| way | uniform-L2: L1 | uniform-L2: L2 |"  # of uniform-L1 there is one way only
    assert true[2] == "| coordinates as a token | 56 | 78 |"
    assert "| token + film | 12 | 34 |" in true
    assert "| token + frame |  |  |" in true
    assert misled[0] == (
        "| way | copied-misled-L1, in metres: swaps obeyed | copied-misled-L1, in metres: wrong block | "
        "copied-misled-L1, in metres: clusters L1 |"
    )
    assert misled[2] == "| coordinates as a token | 49 of 50 | 4 | 8 |"
    assert "| token + film | 49 of 50 | 45 | 90 |" in misled
    assert ways.markdown(rows_of(results[:1])) == ""


def test_the_diagnosis_is_held_against_where_the_jaws_closed_at_positions_like_the_demonstrations() -> None:
    elsewhere, ignored, missed = (result(name, 0, 10) for name in ("elsewhere", "ignored", "missed"))
    elsewhere["conditions"]["L1"]["median_closing_error_mm"] = 50.0  # at positions that were never shown
    elsewhere["conditions"]["clusters L1"] = {**elsewhere["conditions"]["L1"], "median_closing_error_mm": 12.0}
    for of, swap, severity in ((ignored, "no", "fault"), (missed, "yes", "fine")):
        of["conditions"]["L1"]["median_closing_error_mm"] = 60.0
        of["diagnosis"]["swap"] |= {"verdict": f"uses the coordinate: {swap}: swap test 1 of 50", "severity": severity}
    beside = result("beside", 0, 90)  # it goes where it is told, and the report warns of it
    beside["diagnosis"]["swap"]["severity"] = "warning"
    between = result("between", 0, 50)
    between["conditions"]["L1"]["median_closing_error_mm"] = 25.0
    uncued = result("uncued", 0, 5)
    uncued["diagnosis"] = {"swap": {"verdict": "has no coordinate"}}
    good, blind = result("best", 0, 95), result("blind", 0, 9)
    runs = judged(rows_of([elsewhere, ignored, missed, between, beside, uncued, good, blind]))
    assert {run.name.split("_")[1]: run.known for run in runs} == {
        "elsewhere": "good",
        "ignored": "collapsed",
        "missed": "collapsed",
        "between": "neither",
        "beside": "good",
        "best": "good",
    }
    text = validation_table(runs)
    assert "1 of 2 collapsed runs are called rightly and 2 of 3 good runs are called rightly, 1 are called the" in text
    assert "opposite; 1 neither." in text
    assert "| uniform_missed_s0 | collapsed | yes | 49 of 50 | 0.02 | 60.0 | 10 % at L1 |" in text


def test_a_condition_on_which_one_seed_alone_was_measured_has_that_seeds_figures() -> None:
    first, second = result("best", 0, 92), result("best", 1, 98)
    first["conditions"]["L2"] = {**first["conditions"]["L1"], "median_closing_error_mm": 7.0}
    text = markdown(rows_of([first, second]))
    assert "| the best | L2 | 100 | 0.0 | 92.0 |" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| the best | L2 |")]
    assert line.endswith("| 7.0 |")


def test_tables_stand_between_the_markers_and_leave_the_rest_alone(tmp_path: Path) -> None:
    path = tmp_path / "grounding.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_between_markers(path, "new")
    write_between_markers(path, "newer")
    assert path.read_text() == f"before\n{BEGIN}\n\nnewer\n\n{END}\nafter\n"
    path.write_text("no markers")
    with pytest.raises(DataError, match=r"grounding\.md' has no lines"):
        write_between_markers(path, "new")


def test_shares_at_positions_count_all_seeds() -> None:
    shares = position_shares([result("best", 0, 30), result("best", 1, 50)], "L1")
    assert shares == {(0.2, 0.1): 1.0, (0.16, -0.05): 0.0}


def test_the_policies_drawn_over_the_grid_are_of_the_study_the_default_among_them() -> None:
    drawn = set(Table().mapped)
    measured = {cell.variant.name for cell in study() if GRID in cell.conditions}
    assert drawn <= measured
    assert PRESET.name in drawn


def test_pictures_are_small(tmp_path: Path) -> None:
    rows = rows_of([result("best", 1, 98), result("blind", 0, 50)])
    for draw, name in ((draw_success, "success.png"), (draw_grid, "grid.png")):
        what: Any = ["L1"] if draw is draw_success else "L1"
        draw(rows, what, tmp_path / name)
        assert 1000 < (tmp_path / name).stat().st_size < 200_000


def test_a_policy_that_was_not_measured_there_has_no_line_in_the_picture(tmp_path: Path) -> None:
    elsewhere = result("elsewhere", 0, 98)
    elsewhere["conditions"] = {"clusters L1": elsewhere["conditions"]["L1"]}
    measured = [result("best", 1, 98), result("blind", 0, 50)]
    drawn = []
    for number, results in enumerate((measured, [*measured, elsewhere])):
        draw_success(rows_of(results), ["L1"], tmp_path / f"{number}.png")
        drawn.append((tmp_path / f"{number}.png").read_bytes())
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(("name", "side"), [("compact-grounded", 128), ("so101-grounded", 480)])
def test_the_presets_show_each_camera_cropped_and_whole_at_half_its_size(name: str, side: int) -> None:
    """By hand, and as the study's cell has it, whose cameras are named."""
    task = TaskConfig(overhead_size=(side, side), wrist_size=(side, side))
    bare = Features(
        action_names=ACTION_NAMES,
        state_names=ACTION_NAMES,
        environment_names=("x", "y"),
        cameras=tuple(Camera(name=camera, height=side, width=side) for camera in CAMERAS),
        fps=10.0,
    )
    simulated = apply_calibration(bare, calibration_of_task(task))
    policy = preset(name).policy
    seen = network_features(policy, simulated)
    crop = round(policy.cue_crop * side)
    assert {of.name: (of.height, of.width) for of in seen.cameras} == {
        "overhead": (side // 2, side // 2),
        "wrist": (side // 2, side // 2),
        "overhead@cue": (crop, crop),
        "wrist@cue": (crop, crop),
    }
    assert set(policy.conditioning) == {"token", "crop", "frame", "world"}
    of_study = {field: getattr(PRESET.run.policy, field) for field in ("cue_crop_cameras", "cue_crop_full")}
    assert network_features(replace(policy, **of_study), simulated) == seen
