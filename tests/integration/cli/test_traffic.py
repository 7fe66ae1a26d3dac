from shared.cli.demo.traffic import Traffic
from shared.client import FlywheelClient
from tests.integration.client.servers import Fleet
from tests.support.wait import eventually


def test_the_background_client_counts_answers_and_failures_and_goes_on(fleet: Fleet) -> None:
    with (
        FlywheelClient(inference=fleet.address, patience=0) as client,
        Traffic(client, "sentiment", ["a", "b"]) as traffic,
    ):
        eventually(lambda: len(traffic.samples) >= 2)
        fleet.inference.failures = 1
        eventually(lambda: traffic.failures)
        answered = len(traffic.samples)
        eventually(lambda: len(traffic.samples) >= answered + 2)
    assert traffic.failures == ["draining"]
    assert traffic.versions == [2]
    assert traffic.first_answer_by(2) is not None
    assert traffic.first_answer_by(3) is None
