"""How fast a run trains, against what people would write instead."""
