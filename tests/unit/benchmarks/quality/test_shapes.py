from benchmarks.quality.shapes import ANSWERS, OTHER_INTENTS, answers_to_choose, intents_to_rank, next_film, texts_of
from benchmarks.quality.sources import RawRows


def test_the_right_answer_is_among_different_candidates_in_no_fixed_place():
    rows = [{"query": f"q{n}", "positive": f"p{n}", "negatives": [f"n{n}"]} for n in range(30)]
    shaped = answers_to_choose(RawRows(rows, rows[:3])).train
    assert all(len(set(row["candidates"])) == ANSWERS for row in shaped)
    assert all({f"p{n}", f"n{n}"} <= set(row["candidates"]) for n, row in enumerate(shaped))
    assert len({row["candidates"].index(row["answer"]) for row in shaped}) > 3
    assert answers_to_choose(RawRows(rows, [])).train == shaped


def test_few_rows_make_few_candidates():
    rows = [{"query": "q", "positive": "p", "negatives": ["n"]}]
    assert sorted(answers_to_choose(RawRows(rows, [])).train[0]["candidates"]) == ["n", "p"]


def rating(item, stars, time, user=1):
    return {"user": user, "item": item, "rating": stars, "timestamp": time}


def test_the_next_film_is_liked_later_and_the_others_were_never_rated():
    items = [{"item": n, "title": f"film {n}", "genres": ["Drama"]} for n in range(40)]
    train = [rating(n, 5.0, n) for n in range(6)] + [rating(7, 1.0, 7), rating(3, 4.0, 1, user=2)]
    shaped = next_film(RawRows(train, [rating(8, 4.0, 8), rating(9, 2.0, 9)], items))
    assert [row["positive"] for row in shaped.train] == ["film 5, Drama"]
    assert shaped.train[0]["query"].startswith("Liked: film 0, Drama; film 1")
    assert [row["positive"] for row in shaped.test] == ["film 8, Drama"]
    assert shaped.test[0]["query"].endswith("film 5, Drama")
    rated = {f"film {n}, Drama" for n in (*range(6), 7, 8, 9)}
    for row in [*shaped.train, *shaped.test]:
        assert len(set(row["negatives"])) == 15
        assert not rated & set(row["negatives"])


def test_a_field_is_taken_as_running_text():
    assert texts_of("document")(RawRows([{"document": "a", "summary": "b"}], [])).train == [{"text": "a"}]


def test_an_utterance_s_intent_stands_among_others_in_words_and_what_is_out_of_scope_does_not():
    labels = [f"do_thing_{number}" for number in range(20)]
    rows = [{"text": f"please {number}", "label": label} for number, label in enumerate(labels)]
    shaped = intents_to_rank(
        RawRows([*rows, {"text": "what", "label": "oos"}], [{"text": "hm", "label": "oos"}, rows[3]])
    )
    assert [row["positive"] for row in shaped.train] == [label.replace("_", " ") for label in labels]
    assert [row["query"] for row in shaped.test] == ["please 3"]
    assert all(len({row["positive"], *row["negatives"]}) == OTHER_INTENTS + 1 for row in shaped.train)
