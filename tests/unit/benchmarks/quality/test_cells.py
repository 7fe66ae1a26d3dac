from benchmarks.quality.cells import Cell, Cells

CELL = Cell({"guess": ["a", "b"]}, {"steps": 3.0}, 1.5)


def test_a_cell_is_found_again_by_what_decided_it(tmp_path):
    cells = Cells(tmp_path)
    path = cells.path("intents", "lora", 1, {"rows": "abc", "settings": {"rank": 8}})
    assert cells.read(path) is None
    cells.write(path, CELL)
    assert Cells(tmp_path).read(cells.path("intents", "lora", 1, {"settings": {"rank": 8}, "rows": "abc"})) == CELL


def test_another_seed_setting_or_rows_is_another_cell(tmp_path):
    cells = Cells(tmp_path)
    decided = {"rows": "abc", "settings": {"rank": 8}}
    paths = {
        cells.path("intents", "lora", 1, decided),
        cells.path("intents", "lora", 2, decided),
        cells.path("intents", "full", 1, decided),
        cells.path("tweets", "lora", 1, decided),
        cells.path("intents", "lora", 1, {**decided, "rows": "abd"}),
        cells.path("intents", "lora", 1, {**decided, "settings": {"rank": 16}}),
    }
    assert len(paths) == 6


def test_a_damaged_cell_is_made_again(tmp_path):
    cells = Cells(tmp_path)
    path = cells.path("intents", "lora", 1, {})
    cells.write(path, CELL)
    path.write_text(path.read_text()[:-10])
    assert cells.read(path) is None
    path.write_text("[]")
    assert cells.read(path) is None
