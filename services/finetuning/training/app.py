"""One run from its spec to a model folder: wires data, model, weights, checkpoints and the loop together."""

import sys
import traceback
from itertools import chain

import torch
from transformers import PreTrainedModel, set_seed

from services.finetuning.spec import EXIT_DRAINED, EXIT_FAILED, EXIT_FINISHED, FailureReason, TrainingSpec
from services.finetuning.training.checkpointing.checkpoints import Checkpoints
from services.finetuning.training.distributed.followers import ReadCheckpoints, Unheard
from services.finetuning.training.distributed.joining import join
from services.finetuning.training.distributed.team import Team
from services.finetuning.training.events import Events
from services.finetuning.training.examples.class_weights import class_weights
from services.finetuning.training.examples.data import SplitRows, read_rows
from services.finetuning.training.examples.encoding import all_tokens, encode_train
from services.finetuning.training.examples.material import Material
from services.finetuning.training.examples.packing import lay_end_to_end
from services.finetuning.training.examples.paraphrases import paraphrased
from services.finetuning.training.examples.replay import earlier_rows, rows_to_learn
from services.finetuning.training.failures import TrainingFailed, explain
from services.finetuning.training.loop.trainer import Ending, Trainer
from services.finetuning.training.model.attention import plain_short_attention
from services.finetuning.training.model.compact import compact
from services.finetuning.training.model.conditions import conditions
from services.finetuning.training.model.dropout import cheapen_dropout, set_dropout
from services.finetuning.training.model.joined import join_layers
from services.finetuning.training.model.low_rank import fuse_low_rank
from services.finetuning.training.model.output import write_model
from services.finetuning.training.model.recomputing import recompute_layers
from services.finetuning.training.model.weights import TrainedWeights
from services.finetuning.training.reporting.report import TrainingReport
from services.finetuning.training.starting import Beginning
from services.finetuning.training.stopping import StopRequest
from shared.modeling.bases import BaseModel, resolve_base
from shared.modeling.card import ModelCard
from shared.modeling.devices import choose_precision
from shared.modeling.kinds import find_kind
from shared.modeling.kinds.base import Kind, length_limit
from shared.modeling.loading import LoadedModel, load_tokenizer
from shared.modeling.methods import find_method
from shared.modeling.methods.base import Method, text_limit
from shared.modeling.quiet import quiet_libraries
from shared.modeling.scratch.making import make_base
from shared.pipelines.kinds import NEW_BASE
from shared.pipelines.methods import VIRTUAL


def run_training(spec: TrainingSpec, events: Events, stop: StopRequest) -> int:
    """Train, telling `events`; the exit code of the process. Raises nothing."""
    try:
        with join(spec) as team:
            ending = _train(spec, events if team.leads else Unheard(), stop, team)
    except Exception as error:
        failure = explain(error)
        if failure.reason == FailureReason.INTERNAL:
            traceback.print_exc(file=sys.stderr)
        events.send("failed", reason=failure.reason, message=failure.message)
        return EXIT_FAILED
    return EXIT_FINISHED if ending is Ending.FINISHED else EXIT_DRAINED


def _train(spec: TrainingSpec, events: Events, stop: StopRequest, team: Team) -> Ending:
    device = _prepare_torch(spec)
    kind, method = find_kind(spec.kind, spec.options), find_method(spec.method.name)
    known = spec.trained_before.parts if spec.trained_before else frozenset()
    rows = read_rows(spec.dataset, kind.columns, kind.optional, known)
    labels = _labels(spec, kind, rows)
    with team.leader_first():
        base = _base(spec, rows, events)
    tokenizer = load_tokenizer(base.path)
    set_seed(spec.seed)
    beginning = Beginning(spec, base, labels, method, events)
    model = _model(spec, kind, method, beginning, labels)
    limit = text_limit(spec.method, length_limit(model, tokenizer, spec.method.max_length), model)
    train, of_epoch = encode_train(spec, kind, tokenizer, rows_to_learn(spec, rows, events), labels, limit)
    validation = kind.encode(tokenizer, rows.validation, labels, limit)
    if not train.examples:
        raise TrainingFailed(FailureReason.BAD_DATA, "the train split has nothing that could be learnt")
    weights_of_labels = class_weights(spec.method.class_weights, labels, train.examples, spec.options.multi_label)
    kind.class_weights = None if weights_of_labels is None else weights_of_labels.to(device)
    if not method.adapter:
        learnt = all_tokens(train.examples, of_epoch, spec.method.epochs)
        compact(model, chain(learnt, all_tokens(validation.examples, None, 1)))
    end_to_end = lay_end_to_end(spec.method, kind, model, device)
    precision = choose_precision(spec.method.precision, spec.device)
    kept_precision = team.place(model, precision)
    weights = TrainedWeights(model, kept_precision, whole=not method.adapter)
    if device.type == "cpu":
        _compute_less(model, limit, spec.method.name in VIRTUAL, team.in_pieces)
    checkpoints = _checkpoints(spec, base, team)
    material = Material(
        kind, method, model, int(tokenizer.pad_token_id), train.examples, validation.examples, end_to_end, of_epoch
    )
    trainer = Trainer(spec, material, weights, checkpoints, events, stop, team)
    trainer.resume()
    facts = {"rows": len(train.examples), "tokens": trainer.epochs.tokens, "truncated": train.truncated}
    _tell_start(trainer, precision, facts)
    card = _card(spec, base, labels, limit, precision, beginning)
    report = TrainingReport(spec, material, LoadedModel(model, tokenizer, card), rows.validation, events)
    if team.leads and not team.in_pieces:
        report.look_before(trainer.cursor)
    ending = trainer.run()
    if ending is Ending.FINISHED:
        team.reassemble(model)
    if ending is Ending.FINISHED and team.leads:
        report.tell(trainer.cursor, trainer.curve, trainer.budget.seconds, **facts)
        _tell_end(trainer, write_model(spec.output_dir, model, weights, tokenizer, base, card))
    return ending


def _checkpoints(spec: TrainingSpec, base: BaseModel, team: Team) -> Checkpoints:
    """Written by the process that leads, only read by the others."""
    return (Checkpoints if team.leads else ReadCheckpoints)(
        spec.work_dir / "checkpoints",
        spec.identity(base.digest),
        spec.keep_checkpoints,
        spec.revision,
        any_revision=spec.any_revision,
    )


def _tell_start(trainer: Trainer, precision: str, facts: dict[str, int]) -> None:
    spec = trainer.spec
    trainer.events.send(
        "started",
        total_steps=trainer.total_steps,
        start_step=trainer.cursor.step,
        checkpoint_revision=trainer.checkpoints.other_revision,
        **facts,
        precision=precision,
        end_to_end=trainer.material.end_to_end,
        prompt=spec.options.prompt or "",
        options=spec.options.chosen(spec.kind),
        processes=trainer.team.size,
    )


def _tell_end(trainer: Trainer, card: ModelCard) -> None:
    trainer.events.send(
        "finished",
        path=trainer.spec.output_dir,
        weights_digest=card.weights_digest,
        adapter_digest=card.adapter_digest,
        steps=trainer.cursor.step,
        seconds=trainer.budget.seconds,
        metrics=trainer.cursor.metrics,
    )


def _model(
    spec: TrainingSpec, kind: Kind, method: Method, beginning: Beginning, labels: tuple[str, ...]
) -> PreTrainedModel:
    """What is trained, on the CPU, float32."""
    loaded = kind.load(beginning.folder, labels)
    if spec.method.dropout is not None:
        set_dropout(loaded, spec.method.dropout)
    model = method.prepare(loaded, kind.name, spec.method)
    beginning.adapt(model)
    if spec.method.gradient_checkpointing:
        recompute_layers(model)
    return model


def _compute_less(model: PreTrainedModel, limit: int, virtual: bool, in_pieces: bool) -> None:
    """What a processor computes faster in another way, once the weights lie where they stay."""
    plain_short_attention(model, limit, virtual)
    cheapen_dropout(model)
    if not in_pieces:
        join_layers(model)
    fuse_low_rank(model, join=not in_pieces)


def _prepare_torch(spec: TrainingSpec) -> torch.device:
    quiet_libraries()
    device = torch.device(spec.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise TrainingFailed(FailureReason.BAD_SPEC, f"spec.device: {spec.device} is not available here")
    torch.set_num_threads(spec.threads)
    # CUDA has kernels without a deterministic form; there it is a wish, on the CPU a promise.
    torch.use_deterministic_algorithms(True, warn_only=device.type != "cpu")
    # It would write to every new tensor before a kernel does: an aid for finding kernels that read what nobody wrote.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return device


def _labels(spec: TrainingSpec, kind: Kind, rows: SplitRows) -> tuple[str, ...]:
    """The declared labels, or those of the train split; raises TrainingFailed when there is nothing to tell apart."""
    if not kind.labelled:
        return ()
    found = kind.learn_labels(rows.train)
    if len(found) < 2:
        seen = f"one class only ({found[0]!r})" if found else "no label"
        raise TrainingFailed(FailureReason.BAD_DATA, f"the train split has {seen}: nothing to tell apart")
    return kind.declared_labels(spec.labels) if spec.labels else found


def _base(spec: TrainingSpec, rows: SplitRows, events: Events) -> BaseModel:
    """The base that was asked for; one that is to be made is made of the train split."""
    base = _found_base(spec, rows, events)
    if spec.base_digest and base.digest != spec.base_digest:
        raise TrainingFailed(
            FailureReason.BASE_MISSING,
            f"base model {spec.base!r} is another by now: digest {base.digest}, where {spec.base_digest} is wanted",
        )
    return base


def _found_base(spec: TrainingSpec, rows: SplitRows, events: Events) -> BaseModel:
    if spec.base != NEW_BASE:
        return resolve_base(spec.base, spec.base_cache)
    texts = [row["text"] for row in rows.train]
    made = make_base(spec.work_dir / "bases", texts, spec.options, spec.seed, spec.dataset.digest)
    for note in made.notes:
        events.log("warning", note)
    return made.base


def _card(
    spec: TrainingSpec, base: BaseModel, labels: tuple[str, ...], limit: int, precision: str, beginning: Beginning
) -> ModelCard:
    return ModelCard(
        kind=spec.kind,
        method=spec.method.name,
        labels=labels,
        base=spec.base,
        base_digest=base.digest,
        max_length=limit,
        weights_digest="",
        adapter_digest="",
        run=spec.run,
        dataset_digest=spec.dataset.digest,
        precision=precision,
        prompt=spec.options.prompt or "",
        options=spec.options.chosen(spec.kind),
        conditions=conditions(spec.device, precision) | earlier_rows(spec) | paraphrased(spec),
        started_from=beginning.digest,
    )
