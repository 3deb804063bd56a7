"""The model that is checked, and the recorded answers that it is compared with."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..common.machine import default_threads
from ..errors import UsageError
from ..models import hub_cache, local_models
from ..models.released import release_of
from .answers import Answers, load_answers

_READ_BYTES = 1 << 20
WEIGHTS = ("model.safetensors", "speech_tokenizer/model.safetensors")


@dataclass
class Subject:
    """folder, name: of the model. answers: all that are known. known: the name in `answers` of the model that it is
    compared with; None if there is none. known_codec: a model with the same codec, if `known` is None. assumed: whether
    the user chose `known`. embedded: whether it is the embedded voice. threads: of the engine. report: called with one
    line about the progress. digests: file name -> SHA-256, of the files that were hashed."""

    folder: Path
    name: str
    answers: Answers
    known: str | None = None
    known_codec: str | None = None
    assumed: bool = False
    embedded: bool = False
    threads: int = field(default_factory=default_threads)
    report: Callable[[str], None] = lambda line: None
    digests: dict[str, str] = field(default_factory=dict)

    def digest(self, name: str) -> str:
        """The SHA-256 of a file, in hexadecimal, computed once. Raises OSError."""
        if name not in self.digests:
            digest = hashlib.sha256()
            path = self.folder / name
            with open(path, "rb") as file:
                size, done = os.fstat(file.fileno()).st_size, 0
                while data := file.read(_READ_BYTES):
                    digest.update(data)
                    done += len(data)
                    self.report(f"files: {name}, {100 * done // max(size, 1)} %")
            self.digests[name] = digest.hexdigest()
        return self.digests[name]


def find_subject(
    model: str | os.PathLike[str] | None,
    *,
    answers: Path | None = None,
    compare_with: str | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Subject:
    """Find a model, as local_models.resolve_model does, and the answers for it.

    answers: a file of answers instead of the package's. compare_with: the name of a model whose answers are used,
    whatever the files are. Raises ModelNotFoundError, UsageError for an unknown name, InputError for the answers.
    """
    resolved, known_answers = local_models.resolve_model(model), load_answers(answers)
    if hub_cache.is_codec_only(resolved.path):
        raise UsageError(f"model {resolved.name}: a codec without a language model; name a model that has both")
    subject = Subject(resolved.path, resolved.name, known_answers, embedded=resolved.embedded, report=report)
    if compare_with is not None:
        if compare_with.lower() not in known_answers.models:
            raise UsageError(f"{compare_with}: no answers of this model; there are {', '.join(known_answers.models)}")
        subject.known, subject.assumed = compare_with.lower(), True
        return subject
    subject.known = _by_name(subject) or _by_files(subject, "config.json", WEIGHTS[0])
    if subject.known is None:
        subject.known_codec = _by_files(subject, WEIGHTS[1])
    return subject


def _by_name(subject: Subject) -> str | None:
    """The name in the answers of the embedded voice, an alias, or a released repository."""
    name = local_models.EMBEDDED if subject.embedded else subject.name.lower()
    if name in subject.answers.releases:
        return name
    release = release_of(subject.name)
    return next((alias for alias, each in subject.answers.releases.items() if each == release), None)


def _by_files(subject: Subject, *files: str) -> str | None:
    """The first model of which one of the files is the same, byte for byte."""
    for file in files:
        try:
            size = os.stat(subject.folder / file).st_size
        except OSError:
            continue
        for name, release in subject.answers.releases.items():
            published = release.files.get(file)
            if published is not None and published[0] == size and published[1] == subject.digest(file):
                return name
    return None
