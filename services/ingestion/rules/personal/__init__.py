"""Personal data: one finder a kind, and what is done where one finds something."""
