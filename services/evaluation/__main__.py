"""`python -m services.evaluation`: judges new model versions, from the queue `evaluation`."""

from services.evaluation.wiring import run

if __name__ == "__main__":
    run()
