from dataclasses import replace

import pytest

from benchmarks.quality.contenders import Contender
from benchmarks.quality.material import prepare
from benchmarks.quality.shapes import in_scope_judges
from benchmarks.quality.sources import DataMissing, RawRows, read_source
from benchmarks.quality.studies import FULL, QUICK, STUDIES, Sizes, Study, choose
from benchmarks.quality.training import ours
from shared.pipelines.kinds import KINDS

STUDY = Study("greetings", "classification", "greetings", "accuracy", Sizes(100, 100, 10), Sizes(5, 4, 2))


def rows(count, start=0):
    return [
        {"text": f"text {number}", "label": "odd" if number % 2 else "even"} for number in range(start, start + count)
    ]


def test_no_input_is_on_both_sides():
    raw = RawRows([*rows(10), {"text": "TEXT  12", "label": "odd"}], rows(5, start=10))
    material = prepare(STUDY, raw, STUDY.full)
    assert {row["text"] for row in material.train} == {f"text {number}" for number in range(10)}
    assert (len(material.test), material.left_out) == (5, 1)


def test_copies_and_bad_rows_are_counted_as_left_out():
    raw = RawRows([*rows(4), *rows(4), {"text": "", "label": "odd"}], rows(4, start=10))
    assert prepare(STUDY, raw, STUDY.full).left_out == 5


def test_a_smaller_sample_is_a_part_of_a_larger_one_and_its_order_is_the_datas_own():
    raw = RawRows(rows(50), rows(20, start=50))
    small = prepare(STUDY, raw, STUDY.quick)
    large = prepare(STUDY, RawRows(raw.train[::-1], raw.test[::-1]), STUDY.full)
    assert (small.train, small.test) == (large.train[:5], large.test[:4])
    assert small.prompted == 2
    assert small.digest != large.digest == prepare(STUDY, raw, STUDY.full).digest


def test_out_of_scope_rows_are_learnt_but_do_not_judge():
    raw = RawRows([{"text": "x", "label": "oos"}], [{"text": "y", "label": "oos"}, {"text": "z", "label": "a"}])
    shaped = in_scope_judges(raw)
    assert (len(shaped.train), shaped.test) == (1, [{"text": "z", "label": "a"}])


def test_a_kind_without_such_an_option_can_not_be_prepared():
    with pytest.raises(ValueError, match="stride"):
        prepare(replace(STUDY, options={"stride": 8}), RawRows(rows(3), rows(3)), STUDY.full)


def test_a_data_set_that_is_not_here_is_said_to_be_missing(tmp_path):
    with pytest.raises(DataMissing, match="greetings"):
        read_source("greetings", tmp_path)


def test_a_folder_gives_its_validation_rows_to_judge(tmp_path):
    folder = tmp_path / "greetings"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"text": "a", "label": "x"}\n')
    (folder / "validation.jsonl").write_text('{"text": "b", "label": "y"}\n', encoding="utf-8")
    assert read_source("greetings", tmp_path) == RawRows([{"text": "a", "label": "x"}], [{"text": "b", "label": "y"}])


def test_every_study_has_a_name_of_its_own_and_sizes_that_fit():
    assert len({study.name for study in STUDIES}) == len(STUDIES)
    for study in STUDIES:
        assert study.quick.train <= study.full.train
        assert study.quick.prompted <= study.quick.test


def chosen(*names, kinds=(), quick=False, is_here=lambda source: True):
    return [study.name for study in choose(set(kinds), set(names), quick, is_here)]


def test_studies_are_chosen_by_kind_or_name():
    assert chosen() == [study.name for study in STUDIES]
    assert chosen("intents") == ["intents"]
    assert {"tweets", "intents"} <= set(chosen(kinds=["classification"]))
    with pytest.raises(ValueError, match=r"known: .*classification"):
        chosen(kinds=["clasification"])
    with pytest.raises(ValueError, match=r"known: .*intents"):
        chosen("intent", quick=True)


def test_a_quick_table_has_one_study_a_kind_and_those_asked_for():
    kinds = {study.name: study.kind for study in STUDIES}
    assert sorted(kinds[name] for name in chosen(quick=True)) == sorted(set(kinds.values()))
    assert chosen("tweets", kinds=["chat"], quick=True) == ["tweets", "coffee-orders"]


def test_a_quick_table_takes_the_first_study_whose_data_is_here():
    quick = chosen(
        kinds=["classification", "chat", "ranking"], quick=True, is_here=lambda name: name.startswith("package:")
    )
    rankings = {study.name for study in STUDIES if study.kind == "ranking"}
    assert [name for name in quick if name not in rankings] == ["tweets", "support"]


def test_every_kind_has_a_study():
    assert {study.kind for study in STUDIES} == set(KINDS)


def test_methods_of_studies_have_keys_that_there_are():
    for study in STUDIES:
        for plan in (QUICK, FULL):
            assert all(isinstance(one, Contender) for one in ours(study, plan.methods(study)))
