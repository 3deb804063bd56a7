"""The files of the released models that this version was checked with: repository, revision, sizes and digests.

Source: the listings of the repositories on the Hugging Face Hub, which several independent copies repeat.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

PublishedFile = tuple[int, str | None]  # size in bytes; SHA-256 in hexadecimal, None if it is not known


@dataclass(frozen=True)
class Release:
    """A revision of a released model. repository, revision: its repository and commit on the Hugging Face Hub; None for
    a model that is not on the Hub. files: maps a file name to its PublishedFile."""

    repository: str | None
    revision: str | None
    files: dict[str, PublishedFile]

    def is_newer(self, folder: Path) -> bool:
        """Whether a snapshot folder of the Hugging Face cache holds another revision of the model than `revision`."""
        return re.fullmatch("[0-9a-f]{40}", folder.name) is not None and folder.name != self.revision


# files that are the same in all five models
_COMMON: dict[str, PublishedFile] = {
    "generation_config.json": (245, "f1b90b4513f3b34c62851049e2492d7b4c5940daf1276f89c82b8ef04127f3aa"),
    "merges.txt": (1_671_839, "599bab54075088774b1733fde865d5bd747cbcc7a547c5bc12610e874e26f5e3"),
    "vocab.json": (2_776_833, "ca10d7e9fb3ed18575dd1e277a2579c16d108e32f27439684afa0e10b1440910"),
    "tokenizer_config.json": (7_344, "dc3c31c3bdaedd5016382bb3cbe07323026775ad51f5a4fb564505992ae4a670"),
    "preprocessor_config.json": (127, "efdde1022ea9d76928bf7a9cd53139138f5ba2e466e837f08f6105ab1af1c119"),
    "speech_tokenizer/config.json": (2_336, "ee65bb901c876664ab8707c487157aa1a6ee57c65969b28fb5ec9dc211e68167"),
    "speech_tokenizer/configuration.json": (76, "6bc26d64eb5024b4d1dab5a52371958b429256d6c9d59787f1f5294a54e0cebd"),
    "speech_tokenizer/model.safetensors": (
        682_293_092,
        "836b7b357f5ea43e889936a3709af68dfe3751881acefe4ecf0dbd30ba571258",
    ),
    "speech_tokenizer/preprocessor_config.json": (
        234,
        "fcb3805e597e786d4067706e602f6688524640f8d3396790e2e09b5942fcbdfb",
    ),
}
_MODELS: dict[str, tuple[str, str, dict[str, PublishedFile]]] = {
    "0.6b": (
        "Qwen/Qwen3-TTS-12Hz-0.6B-CustomVoice",
        "85e237c12c027371202489a0ec509ded67b5e4b5",
        {
            "model.safetensors": (1_811_626_576, "bc3c7e785eb961179c25450d1acff03f839e0002f2f3a5aeb67b5735c0fa2adb"),
            "config.json": (4_908, "81aca2b6fac304944d8acf345272d8a9a727d5fc2e2e66b222ab4729340c7455"),
        },
    ),
    "0.6b-base": (
        "Qwen/Qwen3-TTS-12Hz-0.6B-Base",
        "5d83992436eae1d760afd27aff78a71d676296fc",
        {
            "model.safetensors": (1_829_344_272, "180b3b10eb1c9f1b4db7806d5475bae3071c0243c299d49926bab1da3b6946f6"),
            "config.json": (4_494, "2e714c787c8edb98b05432685cddb634add2de4d4e645f653d68251ef72ba011"),
        },
    ),
    "1.7b": (
        "Qwen/Qwen3-TTS-12Hz-1.7B-CustomVoice",
        "0c0e3051f131929182e2c023b9537f8b1c68adfe",
        {
            "model.safetensors": (3_833_402_552, "38b1d5971bdbd982b561cccec982669a53b0537c3cf5e9bd4778ed07bb2f5137"),
            "config.json": (4_908, "17a07f527a1c25ea30b4e023a184482a23d3e279d697b1dc81b1bde498d29cf9"),
        },
    ),
    "1.7b-base": (
        "Qwen/Qwen3-TTS-12Hz-1.7B-Base",
        "fd4b254389122332181a7c3db7f27e918eec64e3",
        {
            "model.safetensors": (3_857_413_744, "38fc7fc51c5e776e840414b6fd443962e9411b9654888fd7913e4da643cb857c"),
            "config.json": (4_494, "b4f01752d15a488abde3e1ab44723ae4f4b9e68a4037257b098b3737893cc1f9"),
        },
    ),
    "1.7b-design": (
        "Qwen/Qwen3-TTS-12Hz-1.7B-VoiceDesign",
        "5ecdb67327fd37bb2e042aab12ff7391903235d3",
        {
            "model.safetensors": (3_833_402_552, "391e8db219f292c515297cdceeb43e4eae67cdde35fa57e79a6a8a532fca0522"),
            "config.json": (4_421, None),
        },
    ),
}
RELEASES = {
    alias: Release(repository, revision, {**files, **_COMMON})
    for alias, (repository, revision, files) in _MODELS.items()
}


def release_of(repo: str) -> Release | None:
    """The release of a repository `org/name`; None if it is not one of the released models."""
    return next((each for each in RELEASES.values() if (each.repository or "").lower() == repo.lower()), None)


def revision_note(repo: str, folder: Path) -> str | None:
    """One line if a snapshot folder of the Hugging Face cache differs from the release that this version was checked
    with; else None.

    The digests of large files are read from the names of the cached files. `models pull` and `models verify` compare
    these names with the contents of the files.
    """
    release = release_of(repo)
    if release is None:
        return None
    if release.is_newer(folder):
        checked = (release.revision or "")[:8]
        return f"{repo}: revision {folder.name[:8]} is not the one that this version was checked with ({checked})"
    for name, (_, digest) in release.files.items():
        path = folder / name
        cached = os.path.basename(os.readlink(path)) if path.is_symlink() else ""
        if digest is not None and len(cached) == len(digest) and cached != digest:
            return f"{repo}: {name} is not the file that this version was checked with"
    return None
