"""Users and targets that must not train: found wherever they come, and nobody else."""

import pickle
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from alignx.records import Choice, Persona, Record, Records
from alignx.records.held_out import HeldOut
from alignx.records.mixing import in_mixture
from tests.records.rows import full_row, write_json


def record(target: str, user: str | None = None, id: str = "x") -> Record:
    return Record(id, f"post {target}", "yes", "no", Persona(), user=user)


def test_a_record_is_held_out_for_its_user_or_for_its_target_or_not_at_all() -> None:
    held = HeldOut.of([[record("tea", "ana"), record("bus")]])
    assert held.holds(record("song", "ana")) == "user"
    assert held.holds(record("tea", "ben")) == "target"
    assert held.holds(record("bus")) == "target"
    assert held.holds(record("tea", "ana")) == "user", "both: the user says more"
    assert held.holds(record("song", "ben")) is None
    assert held.holds(record("song")) is None


def test_a_target_is_post_chosen_and_rejected_together() -> None:
    held = HeldOut.of([[Record("1", "p", "a", "b", Persona())]])
    others = [Record("1", "p", "a", "c", Persona()), Record("1", "q", "a", "b", Persona())]
    assert [held.holds(other) for other in others] == [None, None]
    assert held.holds(Record("1", "p", "b", "a", Persona())) == "target", (
        "its texts are the same, its label is the opposite"
    )
    assert held.holds(Record("2", "p", "a", "b", Persona(demographics="A potter."))) == "target"


def test_a_record_whose_history_tells_a_held_out_choice_is_held_out_too() -> None:
    held = HeldOut.of([[record("tea")]])
    told = Persona(choices=(Choice("post bus", "yes", "no"), Choice("post tea", "yes", "no")))
    turned = Persona(choices=(Choice("post tea", "no", "yes"),))
    assert held.holds(replace(record("song"), persona=told)) == "history"
    assert held.holds(replace(record("song"), persona=turned)) is None


def test_a_user_that_is_called_like_a_target_is_not_one() -> None:
    target = record("tea").target
    assert HeldOut.of([[record("bus", target)]]).holds(record("tea")) is None
    assert HeldOut.of([[record("tea")]]).holds(record("bus", target)) is None


def test_nothing_held_out_holds_nothing() -> None:
    for empty in (HeldOut.of([]), HeldOut.of([[]])):
        assert empty.holds(record("tea", "ana")) is None
        assert (empty.as_dict()["users"], empty.as_dict()["targets"]) == (0, 0)


def test_several_sources_are_read_once_each(tmp_path: Path) -> None:
    first = write_json(tmp_path / "a.json", [full_row(prompt=f"p{i}", user=f"u{i % 3}") for i in range(9)])
    second = write_json(tmp_path / "b.json", [full_row(prompt=f"p{i}", user=None) for i in range(6, 12)])
    held = HeldOut.of([Records(str(first)), Records(str(second))])
    assert (held.as_dict()["users"], held.as_dict()["targets"]) == (3, 12), "each once"
    for path in (first, second):
        assert all(held.holds(one) for one in Records(str(path)))


def test_targets_are_held_out_of_every_source_whatever_its_records_are_called() -> None:
    held = HeldOut.of([[record("tea", "ana")]])
    assert held.holds(in_mixture(record("tea", "ben"), "reddit")) == "target"
    assert held.holds(in_mixture(record("song", "ana"), "reddit")) is None, "so it is to be asked before"


@given(
    held_out=st.lists(st.tuples(st.text(), st.none() | st.text()), max_size=30),
    asked=st.lists(st.tuples(st.text(), st.none() | st.text()), max_size=30),
)
def test_it_holds_what_a_set_of_users_and_a_set_of_targets_would(
    held_out: list[tuple[str, str | None]], asked: list[tuple[str, str | None]]
) -> None:
    held = HeldOut.of([[record(*one) for one in held_out]])
    users, targets = {user for _, user in held_out if user is not None}, {target for target, _ in held_out}
    for target, user in [*asked, *held_out]:
        expected = "user" if user in users else "target" if target in targets else None
        assert held.holds(record(target, user)) == expected


@given(st.lists(st.tuples(st.text(), st.none() | st.text()), max_size=20), st.randoms())
def test_its_digest_is_of_who_and_what_and_not_of_their_order(pairs: list[tuple[str, str | None]], rng: object) -> None:
    records = [record(*one) for one in pairs]
    held = HeldOut.of([records])
    again = HeldOut.of([records[::-1], records[:3]])
    assert again.digest == held.digest
    assert again == held
    more = HeldOut.of([records, [record("a target that no example has", None)]])
    assert more.digest != held.digest
    assert pickle.loads(pickle.dumps(held)).as_dict() == held.as_dict()


def test_a_user_held_out_and_a_target_held_out_have_other_digests() -> None:
    assert HeldOut.of([[record("tea", "ana")]]).digest != HeldOut.of([[record("tea")]]).digest


def test_it_takes_eight_bytes_a_user_and_eight_a_target() -> None:
    held = HeldOut.of([[record(str(i), str(i)) for i in range(5000)]])
    assert len(pickle.dumps(held)) < 5000 * 16 + 500
    assert (len(held.users), len(held.targets), held.users.itemsize) == (5000, 5000, 8)
