"""The questions about the coordinate, asked of policies whose answers are known by construction."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from diagnose.closed_form import ARM, CHUNK, STEPS, middle, probe_of, seen, told
from foreact.config import PolicyConfig, TrainConfig
from foreact.diagnose.collapse import collapse, collapse_index, judge_collapse
from foreact.diagnose.explained import judge_explained
from foreact.diagnose.inputs_used import inputs_used, judge_inputs_used
from foreact.diagnose.other_cues import Kind, OtherCues, other_cues
from foreact.diagnose.probe import Probe, first_episodes
from foreact.diagnose.remedies import for_an_ignored_coordinate
from foreact.diagnose.response import demonstrated_response, fit_response
from foreact.diagnose.sensitivity import judge_sensitivity, sensitivity
from foreact.diagnose.swap import Ends, SwapTest, end_points, judge_swap, swap_test
from foreact.errors import CheckpointError
from foreact.finding import Finding, worst_first
from foreact.model.act import ACTOutput
from foreact.records import Batch
from spots import FEATURES


def swapped(probe: Probe) -> SwapTest:
    response = demonstrated_response(probe)
    assert response is not None
    return swap_test(probe, response, other_cues(probe.episodes, probe.cues(probe.samples(0.0)), {}))


def partly(share: float) -> Callable[[Batch], Tensor]:
    return lambda batch: share * told(batch) + (1 - share) * middle(batch)


def test_a_policy_that_obeys_passes_the_swap_test_with_chunks_that_end_half_way(
    episodes: Path, cache_dir: Path
) -> None:
    test = swapped(probe_of(told, episodes, cache_dir))
    assert (test.step, test.obeyed, len(test.way)) == (CHUNK - 1, 24, 24)
    np.testing.assert_allclose(test.way, 1, atol=0.2)  # the demonstrations take 11 to 13 steps, the policy 12


@pytest.mark.parametrize("place", [middle, seen], ids=["goes to the middle", "goes to the block that it sees"])
def test_a_policy_that_ignores_the_coordinate_scores_exactly_zero_wherever_it_goes(
    place: Callable[[Batch], Tensor], episodes: Path, cache_dir: Path
) -> None:
    test = swapped(probe_of(place, episodes, cache_dir))
    assert test.obeyed == 0
    np.testing.assert_array_equal(test.way, 0)


def test_a_policy_that_goes_a_third_of_the_way_is_not_taken_for_one_that_obeys(episodes: Path, cache_dir: Path) -> None:
    test = swapped(probe_of(partly(1 / 3), episodes, cache_dir))
    assert test.obeyed == 0
    assert test.way.mean() == pytest.approx(1 / 3, abs=0.05)


def swap_of(n: int, way: float, end: float, demonstrated: float) -> SwapTest:
    """Trials from an own place at 0 to one named 10 cm away; where chunks end between the two, and demonstrations."""
    own, named = np.zeros((n, 2)), np.tile([0.1, 0.0], (n, 1))
    ends = Ends(before=own, after=end * named, demonstrated=demonstrated * named)
    kind: Kind = "confuser"
    trials = OtherCues(episode=np.arange(n), cue=named, kind=(kind,) * n)
    return SwapTest(way=np.full(n, way), trials=trials, own=own, step=5, ends=ends)


def test_a_chunk_that_answers_and_ends_at_the_other_block_does_not_go_to_the_one_named() -> None:
    there = judge_swap(swap_of(20, way=1.0, end=0.9, demonstrated=0.1), "more steps")
    assert (there.severity, there.remedy) == ("fine", "")
    assert there.verdict.endswith("; the chunk ends nearer to the place named than to the own one in 20 of 20")
    assert there.evidence["mean_end_point_from_the_named_place_m"] == pytest.approx([-0.01, 0.0])

    elsewhere = judge_swap(swap_of(20, way=1.0, end=0.4, demonstrated=0.1), "more steps")
    assert elsewhere.severity == "fault"
    assert elsewhere.verdict.startswith("uses the coordinate: yes: swap test 20 of 20")
    assert elsewhere.verdict.endswith("in 0 of 20: it answers to the coordinate and goes somewhere else")
    assert elsewhere.remedy.startswith("mend what is said of pictures, normalisation and ranges")

    ignores = judge_swap(swap_of(20, way=0.0, end=0.9, demonstrated=0.1), "more steps")
    assert (ignores.severity, ignores.remedy) == ("fault", "more steps"), "going there without being told is chance"


def test_where_demonstrations_end_elsewhere_the_end_points_judge_nothing() -> None:
    """As with coordinates from a corner of the table: the displacement is judged all the same."""
    finding = judge_swap(swap_of(20, way=1.0, end=0.1, demonstrated=0.8), "more steps")
    assert (finding.severity, finding.remedy) == ("fine", "")
    assert "judges nothing: of the demonstrations only 0 end nearer to their own place" in finding.verdict


def test_a_chunk_ends_where_the_hand_first_comes_down_or_at_its_last_step() -> None:
    over = np.linspace(0, 0.9, 10)  # x tells the step

    def end(height: list[float], n_steps: int = 10) -> float:
        path = np.stack([over, 0 * over, np.array(height)], axis=-1)[None]
        return float(end_points(path, n_steps)[0, 0])

    grasp_and_lift = [0.10, 0.08, 0.06, 0.03, 0.012, 0.011, 0.011, 0.05, 0.09, 0.10]
    assert end(grasp_and_lift) == pytest.approx(0.4)
    put_down_again = [0.10, 0.06, 0.013, 0.011, 0.08, 0.10, 0.06, 0.010, 0.010, 0.08]
    assert end(put_down_again) == pytest.approx(0.2)
    still_coming_down = [0.20, 0.19, 0.18, 0.17, 0.16, 0.14, 0.12, 0.10, 0.08, 0.06]
    assert end(still_coming_down) == pytest.approx(0.9)
    not_yet_down = [0.08, 0.09, 0.10, 0.11, 0.11, 0.11, 0.11, 0.10, 0.09, 0.085]
    assert end(not_yet_down) == pytest.approx(0.9)
    assert end(grasp_and_lift, n_steps=4) == pytest.approx(0.3), "later steps are padded in the demonstrations"


def test_the_swap_test_says_what_it_found_and_where_no_block_is_known() -> None:
    def test_with(obeyed: int, kind: str) -> Finding:
        way = np.r_[np.ones(obeyed), np.zeros(200 - obeyed)]
        nowhere = np.zeros((200, 2))
        trials = OtherCues(episode=np.arange(200), cue=nowhere, kind=(kind,) * 200)  # type: ignore[arg-type]
        test = SwapTest(way=way, trials=trials, own=nowhere, step=5, ends=None)
        return judge_swap(test, "more steps")

    no = test_with(3, "confuser")
    # 0.51 % and 4.31 %: Wilson's interval of 3 in 200 by hand.
    assert no.verdict == "uses the coordinate: no: swap test 3 of 200 (95 % interval 1 to 4 %)"
    assert (no.severity, no.remedy) == ("fault", "more steps")
    assert test_with(100, "confuser").verdict.startswith("uses the coordinate: partly: swap test 100 of 200")
    # 90 of 100 where another block stands; at an empty place, which the picture contradicts, 75.
    assert test_with(179, "paired").severity == "warning"
    assert test_with(180, "paired").severity == "fine"
    assert test_with(149, "elsewhere").verdict.startswith("uses the coordinate: partly: swap test 149 of 200")
    assert test_with(150, "elsewhere").severity == "fine"
    assert test_with(49, "elsewhere").severity == "fault", "what ignores the coordinate does so there too"
    yes = test_with(197, "elsewhere")
    assert yes.verdict.startswith("uses the coordinate: yes: swap test 197 of 200")
    assert yes.verdict.endswith("in 200 of them no block is known at the place named")
    assert (yes.severity, yes.remedy) == ("fine", "")


def test_sensitivity_is_the_derivative_of_the_chunk(episodes: Path, cache_dir: Path) -> None:
    probe = probe_of(partly(0.5), episodes, cache_dir)
    measured = sensitivity(probe, demonstrated_response(probe), episodes=8)
    # d action[t] / d x = 0.5 (t + 1) / 12 in the first of two dimensions; per centimetre a hundredth of it.
    by_hand = 0.5 * np.mean(np.arange(1, CHUNK + 1) / STEPS) / 2 / 100
    start = measured.at[0]
    assert start.chunk == pytest.approx(by_hand, rel=1e-3)  # float32 differences of values near 0.5
    assert start.actions == pytest.approx({"a": by_hand, "b": by_hand}, rel=1e-3)
    assert start.hand is None
    assert measured.gain == pytest.approx(0.5 * CHUNK / STEPS, rel=1e-3)
    assert measured.episodes == 8
    verdict = judge_sensitivity(measured, "", obeys=True).verdict
    assert "normalised action units per cm" in verdict
    assert "the arm's kinematics are not known" in verdict


def test_a_policy_that_ignores_the_coordinate_has_no_sensitivity_anywhere(episodes: Path, cache_dir: Path) -> None:
    probe = probe_of(middle, episodes, cache_dir)
    measured = sensitivity(probe, demonstrated_response(probe))
    assert [at.chunk for at in measured.at] == [0.0] * 7
    assert [at.share for at in measured.at] == [0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9]
    finding = judge_sensitivity(measured, "more steps", obeys=False)
    assert (finding.severity, finding.remedy) == ("warning", "more steps")
    by_sight = judge_sensitivity(measured, "more steps", obeys=True)
    assert (by_sight.severity, by_sight.remedy) == ("fine", "")
    assert "0 % of what they do" in by_sight.verdict
    assert by_sight.verdict.endswith(": it looks for the block near the place that it is told (24 episodes)")


def turned(batch: Batch) -> Tensor:
    """Three times as far as the coordinate, a quarter turn away from it."""
    x, y = (told(batch) - middle(batch)).unbind(1)
    return middle(batch) + 3 * torch.stack([-y, x], dim=1)


@pytest.mark.parametrize(
    ("place", "along", "across", "words", "severity"),
    [
        (told, 1, 0, " % another way (24", "fine"),
        (partly(2.5), 2.5, 0, "it moves too far with the coordinate (", "warning"),
        (partly(-0.5), -0.5, 0, "it hardly follows the coordinate (", "warning"),
        (turned, 0, 3, "it hardly follows the coordinate and it moves another way with the coordinate (", "warning"),
    ],
)
def test_a_chunk_that_moves_far_but_not_as_demonstrated_does_not_follow_the_coordinate(
    place: Callable[[Batch], Tensor],
    along: float,
    across: float,
    words: str,
    severity: str,
    episodes: Path,
    cache_dir: Path,
) -> None:
    probe = probe_of(place, episodes, cache_dir)
    measured = sensitivity(probe, demonstrated_response(probe), shares=(0.0,))
    # The demonstrations take 11 to 13 steps, of which the policy knows nothing: a tenth at most.
    assert (measured.along, measured.across) == pytest.approx((along, across), rel=0.1, abs=0.1)
    finding = judge_sensitivity(measured, "more steps", obeys=False)
    assert words in finding.verdict
    assert finding.severity == severity
    assert ("more steps" in finding.remedy) == (along < 0.1)
    assert ("--train.cue-noise" in finding.remedy) == (abs(along) + across > 2)


def test_the_hands_path_is_that_of_two_links_in_a_plane(episodes: Path, cache_dir: Path) -> None:
    probe = probe_of(told, episodes, cache_dir, replace(FEATURES, arm=ARM))
    chunks = probe.predict(probe.samples(0.0))
    a, both = chunks.action[..., 0], chunks.action.sum(axis=-1)
    x, y = 0.3 * np.cos(a) + 0.2 * np.cos(both), 0.3 * np.sin(a) + 0.2 * np.sin(both)
    assert chunks.hand is not None
    np.testing.assert_allclose(chunks.hand, np.stack([x, y, np.full_like(x, 0.1)], axis=-1), atol=1e-6)  # float32


def test_with_a_known_arm_the_figures_are_those_of_the_hand(episodes: Path, cache_dir: Path) -> None:
    probe = probe_of(told, episodes, cache_dir, replace(FEATURES, arm=ARM))
    test = swapped(probe)
    assert test.ends is not None
    # Turning joints take the cue to the hand by an arc, of which the fitted line is only half the truth.
    assert test.way.mean() == pytest.approx(1, abs=0.2)
    samples = probe.samples(0.0, 4)
    measured = sensitivity(probe, demonstrated_response(probe), shares=(0.0,), episodes=4)
    # The Jacobian of the two links at the chunk's end, by hand; the joints have gone half the way to the cue.
    a, b = probe.predict(samples).action[:, -1].T
    along_b = 0.2 * np.stack([-np.sin(a + b), np.cos(a + b)])
    along_a = 0.3 * np.stack([-np.sin(a), np.cos(a)]) + along_b
    by_hand = 0.5 * (np.linalg.norm(along_a, axis=0) + np.linalg.norm(along_b, axis=0)).mean() / 2
    assert measured.at[0].hand == pytest.approx(by_hand, rel=1e-3)
    assert "cm per cm of coordinate" in judge_sensitivity(measured, "", obeys=True).verdict


def test_the_collapse_index_is_0_for_the_demonstrations_and_1_for_one_trajectory() -> None:
    rng = np.random.default_rng(0)
    cue = rng.uniform(0, 0.3, (40, 2))
    slope = rng.normal(size=(2, 6 * 3))
    demonstrated = (cue @ slope + 0.02 * rng.normal(size=(40, 18))).reshape(40, 6, 3)
    mean = demonstrated.mean(axis=0)

    response = fit_response(cue, demonstrated, np.zeros((40, 6), bool))
    assert response is not None

    def index(predicted: np.ndarray) -> float:
        return collapse_index(response, demonstrated, predicted).index

    assert index(demonstrated) == pytest.approx(0, abs=1e-12)
    assert index(np.broadcast_to(mean, demonstrated.shape)) == pytest.approx(1, abs=1e-12)
    assert index(0.3 * demonstrated + 0.7 * mean) == pytest.approx(0.7, abs=1e-12)
    # Variation of the demonstrations' size that has nothing to do with the coordinate counts for nothing.
    unrelated = rng.normal(size=demonstrated.shape) * demonstrated.std()
    assert index(mean + unrelated) == pytest.approx(1, abs=0.15)  # chance: about 1 / sqrt(40) of its size


def test_where_an_arm_starts_is_not_taken_for_an_answer_to_the_coordinate() -> None:
    rng = np.random.default_rng(3)
    start = rng.uniform(0, 0.3, (20, 2))
    cue = 0.7 * start + 0.3 * rng.uniform(0, 0.3, (20, 2))  # the arm starts near its block more often than not
    demonstrated = np.stack([start, 0.5 * (start + cue), cue], axis=1)
    response = fit_response(cue, demonstrated, np.zeros((20, 3), bool), start)
    assert response is not None
    np.testing.assert_allclose(response.slope, np.array([0.0, 0.5, 1.0])[:, None, None] * np.eye(2), atol=1e-12)
    stays = np.repeat(start[:, None], 3, axis=1)
    assert collapse_index(response, demonstrated, stays).index == pytest.approx(1, abs=1e-12)


def test_where_the_demonstrations_do_not_depend_on_the_coordinate_the_coordinates_are_suspected() -> None:
    rng = np.random.default_rng(1)
    cue, unrelated = rng.uniform(0, 0.3, (40, 2)), rng.normal(size=(40, 6, 3))
    for demonstrated in (unrelated, np.ones((40, 6, 3))):
        fitted = fit_response(cue, demonstrated, np.zeros((40, 6), bool))
        assert fitted is not None
        assert not fitted.is_clear
        finding = judge_explained(fitted, episodes=40, knows_hand=False)
        assert finding.severity == "warning"
        assert finding.verdict.startswith("the coordinates in these data do not explain the demonstrations: they tell ")
        assert finding.remedy.startswith("check that the coordinates are the target's in every episode")
        assert finding.evidence["explained"] < 0.15
        assert len(finding.evidence["told_and_demonstrated_along_the_main_direction"]) == 40

    few = fit_response(cue[:19], unrelated[:19], np.zeros((19, 6), bool))
    assert few is not None
    assert judge_explained(few, episodes=19, knows_hand=False).severity == "note", "that may be chance"
    assert fit_response(cue[:4], np.tile(cue[:4, None], (1, 6, 1)), np.zeros((4, 6), bool)) is None
    assert judge_explained(None, episodes=4, knows_hand=False).severity == "note"


def test_coordinates_that_are_followed_explain_the_demonstrations() -> None:
    rng = np.random.default_rng(4)
    cue = rng.uniform(0, 0.3, (20, 2))
    fitted = fit_response(cue, 0.8 * cue[:, None], np.zeros((20, 1), bool))
    finding = judge_explained(fitted, episodes=20, knows_hand=True)
    assert finding.severity == "fine"
    assert finding.verdict.startswith("the coordinates explain 100 % of where the demonstrations go")
    pairs = np.array(finding.evidence["told_and_demonstrated_along_the_main_direction"])
    np.testing.assert_allclose(pairs[:, 0], pairs[:, 1], atol=1e-12)
    # The main direction is that in which the coordinates spread most; along it the hand goes 0.8 of their way.
    widest = np.linalg.eigvalsh(np.cov(cue.T))[-1] ** 0.5
    assert pairs[:, 1].std(ddof=1) == pytest.approx(0.8 * widest)


@pytest.mark.parametrize(("share", "severity"), [(1.0, "fine"), (0.4, "warning"), (0.0, "fault")])
def test_a_policy_drawn_to_the_middle_has_the_index_of_the_way_it_does_not_go(
    share: float, severity: str, episodes: Path, cache_dir: Path
) -> None:
    probe = probe_of(partly(share), episodes, cache_dir)
    response = demonstrated_response(probe)
    assert response is not None
    measured = collapse(probe, response)
    assert measured.index == pytest.approx(1 - share, abs=0.06)  # lengths of 11 to 13 steps against 12
    finding = judge_collapse(measured, "more steps")
    assert finding.severity == severity
    assert finding.verdict.startswith(f"collapse index {measured.index:.2f}")


def test_what_the_coordinate_explains_is_the_adjusted_r_squared() -> None:
    rng = np.random.default_rng(3)
    cue = rng.normal(size=(8, 2))
    demonstrated = (cue @ [1.0, -2.0] + 0.8 * rng.normal(size=8))[:, None, None]
    response = fit_response(cue, demonstrated, np.zeros((8, 1), bool))
    assert response is not None
    y, known = demonstrated[:, 0, 0], np.column_stack([np.ones(8), cue])
    residual = y - known @ np.linalg.solve(known.T @ known, known.T @ y)
    by_hand = 1 - (residual.var(ddof=1) * 7 / 5) / y.var(ddof=1)
    assert response.explained == pytest.approx(by_hand)


def test_a_linear_response_is_recovered_and_its_step_is_where_the_coordinate_tells_most() -> None:
    rng = np.random.default_rng(2)
    cue = rng.uniform(0, 0.3, (30, 2))
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    reach = np.array([0.2, 0.9, 0.1, 0.0])  # goes out to the block in step 1, then on to the same goal
    demonstrated = np.stack([cue @ turn.T * share for share in reach], axis=1)
    is_pad = np.zeros((30, 4), bool)
    response = fit_response(cue, demonstrated, is_pad)
    assert response is not None
    assert (response.step, response.n_steps) == (1, 4)
    assert response.explained == pytest.approx(1)
    assert response.gain == pytest.approx(0.9)
    np.testing.assert_allclose(response.moves(np.array([[0.1, 0.0]])), [[0.0, 0.09]], atol=1e-12)
    is_pad[:, 1:] = True
    shorter = fit_response(cue, demonstrated, is_pad)
    assert shorter is not None
    assert (shorter.step, shorter.n_steps) == (0, 1), "padded steps say nothing"


def test_inputs_that_are_used_change_the_chunk_and_the_others_do_not(episodes: Path, cache_dir: Path) -> None:
    by_cue = inputs_used(probe_of(told, episodes, cache_dir))
    by_sight = inputs_used(probe_of(seen, episodes, cache_dir))
    assert by_cue is not None
    assert by_sight is not None
    assert by_cue.change("pictures exchanged") == by_cue.change("overhead blanked") == 0
    assert (by_cue.change("coordinate exchanged") or 0) > 0.1
    assert by_sight.change("coordinate exchanged") == by_sight.change("wrist exchanged") == 0
    assert (by_sight.change("overhead exchanged") or 0) > 0.1
    finding = judge_inputs_used(by_cue)
    assert "pictures: no (0.00)" in finding.verdict
    assert "coordinate: yes" in finding.verdict
    deaf = replace(by_cue, changes=tuple(replace(of, change=0.14) for of in by_cue.changes))
    assert "coordinate: hardly (0.14, blanked 0.14)" in judge_inputs_used(deaf).verdict
    assert finding.severity == "warning"
    assert "--train.cue-noise" in finding.remedy


def test_exchanging_all_that_a_policy_uses_gives_the_other_demonstrations(episodes: Path, cache_dir: Path) -> None:
    """Unit of the change: at the start the state alone and the cue alone add up to about one."""
    probe = probe_of(told, episodes, cache_dir)
    measured = inputs_used(probe, shares=(0.0,))
    assert measured is not None
    samples = probe.samples(0.0)
    others = np.roll(samples, 12)
    vectors, exchanged = (probe.dataset.vectors(rows.tolist()) for rows in (samples, others))
    assert vectors.environment_state is not None
    assert exchanged.environment_state is not None
    share = torch.arange(1, CHUNK + 1)[None, :, None] / STEPS
    by_hand = (share * (exchanged.environment_state - vectors.environment_state)[:, None]).abs().mean()
    unit = np.abs(probe.demonstrated(samples).action - probe.demonstrated(others).action).mean()
    assert measured.change("coordinate exchanged") == pytest.approx(by_hand.item() / unit, rel=1e-5)


def looks_at_both(batch: Batch) -> Tensor:
    """Where the red spots of both cameras are, whichever is which."""
    other = replace(batch, images={"overhead": batch.images["wrist"]})
    return 0.5 * (seen(batch) + seen(other))


def test_a_camera_that_is_not_looked_at_and_cameras_that_cannot_be_told_apart_are_named(
    episodes: Path, cache_dir: Path
) -> None:
    one_eyed = inputs_used(probe_of(seen, episodes, cache_dir))
    both = inputs_used(probe_of(looks_at_both, episodes, cache_dir))
    assert one_eyed is not None
    assert both is not None
    finding = judge_inputs_used(one_eyed)
    assert finding.verdict.endswith("; ignores camera wrist")
    assert (finding.severity, one_eyed.cannot_tell_apart()) == ("warning", ())
    assert "--policy.cameras overhead" in finding.remedy
    assert both.cannot_tell_apart() == (("overhead", "wrist"),)
    assert judge_inputs_used(both).verdict.endswith("; cannot tell overhead from wrist")


def test_one_chunk_for_all_is_named_without_any_coordinate(episodes: Path, cache_dir: Path) -> None:
    probe = probe_of(lambda batch: batch.state if batch.state is not None else told(batch), episodes, cache_dir)
    stays = inputs_used(probe, shares=(0.0,))
    assert stays is not None
    assert (stays.change("everything exchanged") or 0) > 0.25, "it stays where it is, which is not one place"

    class OneChunk(torch.nn.Module):
        def forward(self, batch: Batch, z: object = "zero") -> ACTOutput:
            return ACTOutput(action_hat=torch.full((batch.size, CHUNK, 2), 0.5))

    collapsed = Probe(OneChunk(), probe.inputs, probe.features, probe.dataset)
    measured = inputs_used(collapsed)
    assert measured is not None
    assert measured.change("everything exchanged") == 0
    finding = judge_inputs_used(measured)
    assert finding.severity == "fault"
    assert finding.verdict.startswith("collapsed: one chunk for all: with every input exchanged it changes by 0.00")


def test_what_an_input_is_worth_is_the_error_without_it(episodes: Path, cache_dir: Path) -> None:
    measured = inputs_used(probe_of(told, episodes, cache_dir))
    assert measured is not None
    worth = {of.intervention: of.error for of in measured.changes}
    assert worth["overhead blanked"] == worth["wrist exchanged"] == 1
    assert worth["coordinate exchanged"] > worth["coordinate blanked"] > 2, "it goes nowhere near its place"


def test_a_blind_policy_has_no_pictures_to_exchange(episodes: Path, cache_dir: Path) -> None:
    measured = inputs_used(probe_of(told, episodes, cache_dir, replace(FEATURES, cameras=())))
    assert measured is not None
    assert {of.intervention.split()[0] for of in measured.changes} == {"everything", "state", "coordinate"}
    finding = judge_inputs_used(measured)
    assert "pictures: none" in finding.verdict
    assert finding.severity == "fine"


def test_chunks_that_are_not_finite_are_refused(episodes: Path, cache_dir: Path) -> None:
    probe = probe_of(lambda batch: told(batch) / 0, episodes, cache_dir)
    with pytest.raises(CheckpointError, match=r"chunks are not finite, first in episodes 0, 1, 2"):
        probe.predict(probe.samples(0.0)[:3])


def test_held_out_episodes_come_first_and_are_spread() -> None:
    assert first_episodes((0, 1, 2, 3), (4, 5), 2) == (0, 2)
    assert first_episodes((0, 1), (2, 3, 4, 5), 4) == (0, 1, 2, 4)
    assert first_episodes((0,), (), 9) == (0,)


def test_the_worst_comes_first_and_equals_keep_their_order() -> None:
    def finding(name: str, severity: str) -> Finding:
        return Finding(question=name, title="", verdict="", severity=severity)  # type: ignore[arg-type]

    order = worst_first([finding("a", "note"), finding("b", "fine"), finding("c", "fault"), finding("d", "fine")])
    assert [of.question for of in order] == ["c", "b", "d", "a"]


def test_the_remedy_names_what_the_run_has_not_tried() -> None:
    plain = for_an_ignored_coordinate(PolicyConfig(), TrainConfig(steps=100), is_paired=False, explained=0.9)
    assert plain.startswith("the preset so101-grounded, compact-grounded for small pictures")
    for word in ("foreact record --paired", "--train.sampling paired"):
        assert word in plain
    assert plain.index("more steps than 100 (--train.steps)") < plain.index("foreact record --paired")
    grounded = PolicyConfig(conditioning=("token", "crop", "frame"))
    assert for_an_ignored_coordinate(grounded, None, is_paired=True, explained=0.9).startswith(
        "--policy.conditioning token crop frame strong: "
    )
    tried = PolicyConfig(conditioning=("token", "crop", "frame", "strong"))
    paired = TrainConfig(steps=7, sampling="paired")
    assert for_an_ignored_coordinate(tried, paired, is_paired=True, explained=0.9) == (
        "more steps than 7 (--train.steps)"
    )


def test_what_the_evidence_points_at_comes_before_what_is_to_be_tried() -> None:
    raw = PolicyConfig(environment_normalization="identity")
    of_both = for_an_ignored_coordinate(raw, None, is_paired=False, explained=0.12).split("; then ")
    assert of_both[0].startswith("check that the coordinates are the target's in every episode")
    assert of_both[0].endswith("(these explain 12 % of where chunks go)")
    assert of_both[1].startswith("--policy.environment-normalization mean_std")
    assert of_both[2].startswith("the preset so101-grounded, compact-grounded for small pictures")
    unknown = for_an_ignored_coordinate(raw, None, is_paired=False, explained=None)
    assert unknown.startswith("--policy.environment-normalization mean_std")
    assert of_both[3].startswith("--policy.conditioning token strong: ")
    assert "contrastive" not in "; ".join(of_both), "it cured nothing where it was measured"
