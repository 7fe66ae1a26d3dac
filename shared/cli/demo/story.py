"""The story that the demo tells, chapter by chapter."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from shared.cli.ask import name_of, stream
from shared.cli.demo import knobs
from shared.cli.demo.following import DemoFailed, follow_turn, wait_for, wait_until_served
from shared.cli.demo.material import load_questions, load_tweets, pipeline_file
from shared.cli.demo.record import PipelineRecord, Record, Served
from shared.cli.demo.traffic import Traffic
from shared.cli.output import console, seconds
from shared.cli.reports import show_lineage
from shared.client import FlywheelClient
from shared.client.data import Batch
from shared.errors import FlywheelError

SENTIMENT, SUPPORT = "sentiment", "support"
CORRECTION = "Call us before you start: our advisers check on the same day whether your project needs a permit."


class Story:
    """One telling on a running platform; fills its record as it goes."""

    def __init__(self, client: FlywheelClient, product: FlywheelClient, record: Record) -> None:
        """`product` is the client that keeps calling; it should repeat nothing, so that every failure counts."""
        self.client, self.product, self.record = client, product, record
        self.tweets = load_tweets()
        self.questions, self.unseen = load_questions()
        self.last_request = ""

    def tell(self) -> None:
        """Raises DemoFailed when the platform does not do what the story says."""
        with self.chapter("1 · A pipeline is declared, rows come in, and nobody starts a job"):
            self.first_version()
        record = self.record.pipelines[SENTIMENT]
        with Traffic(self.product, SENTIMENT, self.tweets.traffic) as traffic:
            record.samples, record.failures = traffic.samples, traffic.failures
            with self.chapter("2 · More rows arrive while a client keeps calling"):
                self.second_version(traffic)
            with self.chapter("3 · A spoiled batch arrives"):
                self.spoiled_batch(traffic)
        with self.chapter("4 · Another kind of model: answers to customers' questions"):
            self.support()
        with self.chapter("5 · A user corrects an answer"):
            self.correction()
        with self.chapter("6 · Where did that answer come from?"):
            self.record.lineage = self.client.lineage(request_id=self.last_request)
            show_lineage(self.record.lineage)

    @contextmanager
    def chapter(self, title: str) -> Iterator[None]:
        console().print(f"\n[bold]{title}[/]")
        began = time.monotonic()
        try:
            yield
        except FlywheelError as error:
            raise DemoFailed(f"chapter {title[0]}: {error.message}") from None
        self.record.chapters.append((title, time.monotonic() - began))

    def first_version(self) -> None:
        record = self.declare(SENTIMENT, "accuracy")
        turn = self.turn(record, self.tweets.first, "tweets-1")
        report = turn.turn.report
        say(
            f"the gate says {report.verdict}: accuracy {report.metrics['accuracy']:.3f} on {report.test_rows} test rows"
        )
        self.serve(record, turn)

    def second_version(self, traffic: Traffic) -> None:
        record = self.record.pipelines[SENTIMENT]
        turn = self.turn(record, self.tweets.more, "tweets-2")
        report = turn.turn.report
        before, after = report.champion_metrics.get("accuracy", 0.0), report.metrics["accuracy"]
        say(f"on the same {report.test_rows} test rows: v{report.champion} {before:.3f}, v{report.version} {after:.3f}")
        self.serve(record, turn)
        version = turn.turn.job.model_version
        wait_for("the client sees the new version", 30, lambda: traffic.first_answer_by(version))
        self.no_failures(traffic)
        say(
            f"the client made {len(traffic.samples):,} requests meanwhile: 0 failed, answered by versions {traffic.versions}"
        )

    def spoiled_batch(self, traffic: Traffic) -> None:
        record = self.record.pipelines[SENTIMENT]
        champion = self.client.model_version(SENTIMENT).version
        turn = self.turn(record, self.tweets.spoiled, "tweets-3-flipped")
        report = turn.turn.report
        if report.verdict == "pass":
            raise DemoFailed(f"v{report.version} learnt from flipped labels, and the gate let it pass")
        record.served.remove(turn)
        record.refused.append(turn)
        say(f"v{report.version} is refused:")
        for reason in report.reasons:
            if not reason.passed:
                say(f"  [red]✗[/] {reason.message}")
        batch = wait_for("the batch is held", 30, self.held_batch)
        record.held.append(batch)
        say(f"batch {batch.id} ({batch.accepted:,} rows) is held until somebody releases it")
        wait_for("the next dataset version leaves it out", 60, lambda: self.version_without(batch.id))
        now = self.client.classify(SENTIMENT, self.tweets.traffic[0]).lineage.version
        if now != champion:
            raise DemoFailed(f"champion was v{champion}, and v{now} answers")
        self.no_failures(traffic)
        say(f"v{champion} answers as before; {len(traffic.samples):,} requests so far, 0 failed")

    def support(self) -> None:
        record = self.declare(SUPPORT, "loss")
        turn = self.turn(record, self.questions, "faq-1")
        report = turn.turn.report
        for metric, value in report.metrics.items():
            before = report.base_metrics.get(metric)
            say(f"{metric}: {'–' if before is None else f'{before:.3f}'} before, {value:.3f} after")
        self.serve(record, turn)
        question = self.unseen[0]
        say(f"[bold]question[/] {question}")
        for alias in ("base", "champion"):
            say(f"[bold]{alias}[/]")
            self.record.conversation["question"] = question
            self.record.conversation[alias] = self.ask(question, alias)
            record.other_requests += 1

    def correction(self) -> None:
        kept = self.client.feedback(self.last_request, rating=-1, correction=CORRECTION, consent=True)
        if kept.batch is None:
            raise DemoFailed("the correction was kept, and made no row")
        batch = kept.batch.id
        version = wait_for("the correction becomes a row", knobs.SEAL_SECONDS, lambda: self.version_with(batch))
        row = next(self.client.rows(SUPPORT, version, batches=[batch]), None)
        if row is None:
            raise DemoFailed(f"dataset version {version} has batch {batch} without its row")
        say(f"row {row.id[:12]} ({row.split}) is in dataset version {version} of {SUPPORT}")

    def declare(self, name: str, metric: str) -> PipelineRecord:
        file = pipeline_file(name)
        pipeline = self.client.apply_pipeline(file.read_text(encoding="utf-8"))
        say(f"pipeline {pipeline.name} declared from examples/{name}/{file.name}")
        return self.record.pipelines.setdefault(name, PipelineRecord(name, metric))

    def turn(self, record: PipelineRecord, rows: list[dict[str, str]], key: str) -> Served:
        """Sends rows, and follows what they set off until the verdict."""
        earlier = {job.id for job in self.client.jobs(record.name)}
        batch = self.send(record.name, rows, key)
        self.record.batches.append(batch)
        say(f"{batch.accepted:,} rows accepted, {batch.duplicates} duplicates, {batch.quarantined} in quarantine")
        turn = follow_turn(self.client, record.name, earlier)
        dataset = self.client.dataset_version(record.name, turn.job.dataset_version)
        say(
            f"v{turn.job.model_version} was trained on {dataset.splits.train:,} rows of dataset version {dataset.version} "
            f"in {seconds(turn.train_seconds)} and judged in {seconds(turn.report.took)}"
        )
        served = Served(turn, dataset)
        record.served.append(served)
        return served

    def send(self, pipeline: str, rows: list[dict[str, str]], key: str) -> Batch:
        with console().status(f"sending {len(rows):,} rows") as waiting:

            def progress(sent: int) -> None:
                waiting.update(f"sending {sent:,} of {len(rows):,} rows")

            return self.client.append_rows(pipeline, rows, batch_key=key, source="demo", progress=progress)

    def serve(self, record: PipelineRecord, served: Served) -> None:
        served.deployment = wait_until_served(self.client, record.name, served.turn)
        swap = served.deployment.swap
        say(f"[green]v{served.deployment.version} is champion[/] and answers, {seconds(swap)} after its promotion")

    def ask(self, question: str, alias: str) -> str:
        answer = self.client.chat(SUPPORT, question, alias=alias, max_tokens=knobs.ANSWER_TOKENS)
        text = stream(answer)
        if answer.accepted is None or answer.finished is None:
            raise DemoFailed(f"the answer of {alias} was cut")
        self.last_request = answer.accepted.request_id
        return f"{text} ({name_of(answer.accepted.lineage)})"

    def held_batch(self) -> Batch | None:
        return next((batch for batch in self.client.batches(SENTIMENT) if batch.state == "held"), None)

    def version_without(self, batch: str) -> int | None:
        newest = self.client.dataset_version(SENTIMENT)
        return None if batch in newest.batches else newest.version

    def version_with(self, batch: str) -> int | None:
        newest = self.client.dataset_version(SUPPORT)
        return newest.version if batch in newest.batches else None

    @staticmethod
    def no_failures(traffic: Traffic) -> None:
        if traffic.failures:
            raise DemoFailed(f"{len(traffic.failures)} requests failed, the first with: {traffic.failures[0]}")


def say(text: str) -> None:
    console().print(f"  {text}")
