from benchmarks.quality.progress import Progress


def test_the_rest_is_guessed_from_cells_of_the_same_contender(capsys):
    progress = Progress(["majority", "lora", "lora", "full"])
    progress.done("majority", "first", 0.0)
    progress.done("lora", "second", 240.0)
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "[1/4] first (0 s); 0 min left"
    assert told[1] == "[2/4] second (240 s); 6 min left"  # another lora, and a full that is guessed from all


def test_cells_that_will_not_come_are_not_waited_for(capsys):
    progress = Progress(["lora", "full"])
    progress.dropped("lora")
    progress.done("full", "last", 5.0)
    assert capsys.readouterr().err.startswith("[2/2] last (5 s); done in 0 min")
