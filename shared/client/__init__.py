"""A typed Python client.

from shared.client import FlywheelClient

with FlywheelClient.from_environment() as client:
    answer = client.classify("sentiment", "What a lovely morning")
    print(answer.results[0].best.label, answer.lineage.version)
    for chunk in client.chat("support", "Do I need a building permit?"):
        print(chunk.text, end="")
"""

from shared.client.client import FlywheelClient

__all__ = ["FlywheelClient"]
