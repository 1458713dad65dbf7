"""The evaluate command: how good would the local router be on this labelled data? Needs no database."""
from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

from engine import backends, evaluation, labelled_csv, settings
from engine.commands.bar import bar
from engine.commands.columns import expect_two_columns
from engine.commands.place import expect_writable
from engine.commands.show import show
from engine.errors import ConsoleError, ImportRejected
from engine.recurring import FEWEST_COPIES
from engine.safe_file import write_safely


def add(commands: Any) -> None:
    """Add the command and its options to the parser's commands."""
    command = commands.add_parser("evaluate", help="fit and calibrate the local router on one labelled CSV, report on another")
    command.add_argument("--train", type=Path, required=True, help="labelled CSV to learn from")
    command.add_argument("--test", type=Path, required=True, help="labelled CSV to report on")
    command.add_argument("--text-column", default="text", help="the column with the words (text)")
    command.add_argument("--label-column", default="category", help="the column with what is right (category)")
    command.add_argument("--parents", type=Path, help="JSON object label -> department: learn labels as topics, judge departments")
    command.add_argument("--json", type=Path, help="write the report here")
    command.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Print the report, and write it as JSON where asked for."""
    columns = {"text_column": arguments.text_column, "label_column": arguments.label_column}
    expect_two_columns(**columns, consequence="Nothing was written.")
    if arguments.json:
        read = {arguments.train, arguments.test, arguments.parents} - {None}
        if any(arguments.json.exists() and other.exists() and arguments.json.samefile(other) for other in read):
            raise ImportRejected(f"{arguments.json}: is read by this command, the report would replace it. Name another file. Nothing was done")
        expect_writable(arguments.json)
    train, test = (labelled_csv.read(_content(path), name=path.name, **columns) for path in (arguments.train, arguments.test))
    parents = labelled_csv.parents(_content(arguments.parents), name=arguments.parents.name) if arguments.parents else None
    # As in the console: one thread, so that sums come out the same everywhere and one ticket waits for nobody.
    with threadpoolctl.threadpool_limits(1, user_api="blas"), bar("texts") as progress:
        embedder = backends.local_embedder(settings.load())
        embed = _told(embedder.embed, total=len(train.texts) + len(test.texts), progress=progress)
        found = evaluation.evaluate(train, test, embed=embed, parents=parents)
    for line in _lines(found):
        show(line, done="The report is lost, its file was not written; run this again.")
    if arguments.json:
        _write(arguments.json, json.dumps(found.to_json(), indent=2, ensure_ascii=False) + "\n")
    return 0


def _write(path: Path, report: str) -> None:
    content = report.encode("utf-8", "replace")
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
        else:
            write_safely(path, content, mode=0o666)
    except OSError as error:
        raise ConsoleError(f"{path}: cannot be written: {error.strerror}. The report above was not kept there") from error


def _told(
    embed: Callable[[Sequence[str]], np.ndarray], *, total: int, progress: Callable[[int, int], None]
) -> Callable[[Sequence[str]], np.ndarray]:
    """The same, telling how many of all texts are embedded; what is embedded again, to take its time, is not told."""
    done = 0

    def telling(texts: Sequence[str]) -> np.ndarray:
        nonlocal done
        vectors = embed(texts)
        if done < total:
            done += len(texts)
            progress(done, total)
        return vectors

    return telling


def _lines(found: evaluation.Evaluation) -> list[str]:
    lines = [
        f"{_rows(found.train_rows, 'training')}, {_rows(found.test_rows, 'test')}, {found.classes} classes, {found.departments} departments",
        f"accuracy {found.accuracy:.2%}   mean confidence {found.mean_confidence:.2%}   calibration error (ECE) {found.ece:.4f}",
        f"fitted in {found.fit_seconds:.1f} s, {found.ms_per_ticket:.2f} ms per ticket, {found.ms_per_ticket_after_embedding:.2f} of them after embedding",
        "target   coverage in hindsight   promised: threshold, coverage, accuracy on the test rows",
    ]
    for promise in found.guarantee:
        if promise.threshold is None:
            said = promise.reason
        else:
            accuracy = "-" if promise.accuracy is None else f"{promise.accuracy:.2%}"
            said = f"{promise.threshold:.4f}, {promise.coverage:.1%}, {accuracy}{'' if promise.kept else ' (missed)'}"
        lines.append(f"{promise.target:6.0%}   {found.coverage[f'{promise.target:.2f}']:>21.1%}   {said}")
    lines += [f"confused: {right} answered as {said}: {count}" for right, said, count in found.confusion[:5]]
    left_out = [f"{_rows(count, file)} left out: {why}" for file, reasons in found.skipped.items() for why, count in reasons.items()]
    if found.unseen_labels:
        unseen, of_them = sum(found.unseen_labels.values()), found.unanswerable
        which = "it counts" if unseen == 1 else f"{of_them:,} of them count{'s' if of_them == 1 else ''}"
        wrong = f"; {which} as wrong, because {'its' if of_them == 1 else 'their'} department is not known either" if of_them else ""
        have = "has a label" if unseen == 1 else "have labels"
        left_out.append(f"{_rows(unseen, 'test')} {have} that the training rows do not have{wrong}")
    if found.duplicates:
        repeat = "repeats" if found.duplicates == 1 else "repeat"
        left_out.append(f"{_rows(found.duplicates, 'training')} {repeat} text and label of another: the confidence is checked on one of them, unseen")
    if found.contradicting:
        shown = ", and shown as sure as it is common" if found.contradicting >= FEWEST_COPIES else ""
        rows = _rows(found.contradicting, "training")
        left_out.append(f"{rows} have a text that stands there with another label as well: the commoner one is answered{shown}")
    if found.lone:
        are, its, says, of = ("is", "its", "it says", "department") if found.lone == 1 else ("are", "their", "they say", "departments")
        left_out.append(
            f"{_rows(found.lone, 'training')} {are} the only one of {its} department: what {says} of new tickets cannot be checked on the training rows, "
            f"so the confidence of {its} {of} is a guess. Five rows for each are a start"
        )
    if found.repeated:
        left_out.append(f"{_rows(found.repeated, 'test')} {'stands' if found.repeated == 1 else 'stand'} in the training rows as well")
    return lines + left_out


def _rows(number: int, kind: str) -> str:
    return f"{number:,} {kind} row{'' if number == 1 else 's'}"


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImportRejected(f"{path}: cannot be read: {error.strerror}") from error
