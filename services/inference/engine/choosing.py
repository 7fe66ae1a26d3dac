"""From the logits of a step to what each request makes of them: tokens for its answers, or its beams."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from services.inference.engine.answer import Answer
from services.inference.engine.beams import Continuation
from services.inference.engine.logprobs import token_logprobs
from services.inference.engine.sampling import Drawn, Row, adjust, sample
from services.inference.engine.scheduler import Work
from services.inference.engine.sequence import RequestSequence

NOT_FINITE = "the model gave values that are not finite"


@dataclass(slots=True)
class Outcome:
    """What a request got: tokens an answer (None where the logits were not finite), or the beams of its next step."""

    sequence: RequestSequence
    drawn: list[tuple[Answer, list[Drawn | None]]] = field(default_factory=list)
    beams: list[Continuation] | None = None
    broken: bool = False

    def trouble(self) -> str:
        """Why the request can't go on, or nothing."""
        if self.broken:
            return NOT_FINITE
        return next((answer.trouble() or NOT_FINITE for answer, drawn in self.drawn if drawn[0] is None), "")


def choose(plan: Sequence[Work], logits: torch.Tensor) -> list[Outcome]:
    """One outcome a request whose logits were wanted. Logits are float32 (wanted, vocabulary), changed in place."""
    places: list[int] = []
    rows: list[Row] = []
    drawing: list[tuple[RequestSequence, Answer, int]] = []
    beams: dict[str, tuple[RequestSequence, list[int]]] = {}
    end = 0
    for work in plan:
        if not work.segment.wanted:
            continue
        start, end = end, end + work.segment.wanted
        sequence = work.sequence
        if sequence.forked and sequence.beams is None:
            places.extend(range(start, end))
            rows.extend([work.answer.row()] * (end - start))
            drawing.append((sequence, work.answer, end - start))
            continue
        if not sequence.forked and sequence.wants_prompt_logprobs:
            _echo(work, logits[start:end])
        if work.segment.end < work.answer.length:
            continue
        if sequence.beams is not None:
            beams.setdefault(sequence.request.id, (sequence, []))[1].append(end - 1)
            continue
        for answer in sequence.answers:
            places.append(end - 1)
            rows.append(answer.row())
            drawing.append((sequence, answer, 1))
    outcomes = [_search(sequence, logits[at]) for sequence, at in beams.values()]
    if rows:
        outcomes += _gather(drawing, sample(logits if len(places) == end else logits[places], rows))
    return outcomes


def _gather(drawing: list[tuple[RequestSequence, Answer, int]], drawn: list[Drawn | None]) -> list[Outcome]:
    outcomes: dict[str, Outcome] = {}
    at = 0
    for sequence, answer, count in drawing:
        outcome = outcomes.setdefault(sequence.request.id, Outcome(sequence))
        outcome.drawn.append((answer, drawn[at : at + count]))
        at += count
    return list(outcomes.values())


def _search(sequence: RequestSequence, logits: torch.Tensor) -> Outcome:
    assert sequence.beams is not None
    logprobs = torch.log_softmax(logits, dim=-1)
    if not bool(logprobs.isfinite().all()):
        return Outcome(sequence, broken=True)
    beams = sequence.answers if sequence.forked else sequence.answers[:1]
    for row, beam in zip(logprobs, beams, strict=True):
        adjust(row, beam.row())
    return Outcome(sequence, beams=sequence.beams.advance(logprobs, [beam.generated for beam in beams]))


def _echo(work: Work, logits: torch.Tensor) -> None:
    """Log-probabilities of the prompt tokens that follow those of this step."""
    segment, prompt = work.segment, work.sequence.request.prompt
    following = prompt[segment.start + 1 : segment.end + 1]
    alternatives = work.sequence.request.logprobs or 0
    work.sequence.echo(token_logprobs(logits[: len(following)], following, alternatives))
