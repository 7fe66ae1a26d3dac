"""Does fine-tuning beat the obvious baselines, for every task kind, on real data?"""
