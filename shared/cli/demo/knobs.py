"""Sizes and patience of the demo, in one place. Patience is for slow machines: two cores need a tenth of it."""

SEED = 20
FIRST_ROWS = 1_500
MORE_ROWS = 6_000
SPOILED_ROWS = 4_000
"""Enough flipped labels among fresh tweets that no honest gate lets the candidate through."""
QUESTIONS = 400

TRAFFIC_PAUSE_SECONDS = 0.1
"""Between two calls of the background client: about eight a second, so that training keeps most of two cores."""
ANSWER_TOKENS = 80

SEAL_SECONDS = 180.0
TRAIN_SECONDS = 1_800.0
JUDGE_SECONDS = 900.0
SERVE_SECONDS = 300.0
