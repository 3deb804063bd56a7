"""What is known of the released models: files, tensors, and the configuration of their codec."""

from __future__ import annotations

import hashlib
import shutil

import numpy as np
import pytest
from helpers import DATA

from qwen3tts_cli.check.answers import load_answers
from qwen3tts_cli.check.structure import lines_digest
from qwen3tts_cli.models.config.codec import load_codec_config
from qwen3tts_cli.models.config.encoders import SpeakerConfig, load_encoder_config
from qwen3tts_cli.models.encoder_tensor_specs import expected_encoder_tensors, expected_speaker_tensors
from qwen3tts_cli.models.local_models import ALIASES
from qwen3tts_cli.models.released import RELEASES, release_of, revision_note
from qwen3tts_cli.models.synthetic import synthetic_config
from qwen3tts_cli.models.tensor_specs import expected_tensors

CODEC_CONFIG = DATA / "known_answers" / "codec_config.json"  # speech_tokenizer/config.json of the released models
LM, CODEC = "model.safetensors", "speech_tokenizer/model.safetensors"


def lm_tensors(name: str):
    """(name, dtype, shape) of the tensors of model.safetensors."""
    config = synthetic_config(name[:4])._replace(text_vocab_size=151936)
    specs = list(expected_tensors(config)[0])
    if name.endswith("base"):
        sizes = {"channels": (512, 512, 512, 512, 1536), "kernels": (5, 3, 3, 3, 1), "dilations": (1, 2, 3, 4, 1)}
        bottlenecks = {"scale": 8, "se_channels": 128, "attention_channels": 128}
        specs += expected_speaker_tensors(SpeakerConfig(**sizes, **bottlenecks, embedding=config.talker.hidden_size))
    return [(spec.name, "BF16", spec.shape) for spec in specs]


def codec_tensors():
    """(name, dtype, shape) of the tensors of speech_tokenizer/model.safetensors, also of those that are not read."""
    config = synthetic_config("0.6b")._replace(codec=load_codec_config(CODEC_CONFIG))
    read = [*expected_tensors(config)[1], *expected_encoder_tensors(load_encoder_config(CODEC_CONFIG))]
    tensors = [(spec.name, spec.shape) for spec in read]
    for kind in ("first", "rest"):
        tensors.append((f"decoder.quantizer.rvq_{kind}.input_proj.weight", (256, 512, 1)))
    for kind, layers in (("semantic", 1), ("acoustic", 31)):
        root = f"encoder.quantizer.{kind}_residual_vector_quantizer"
        tensors.append((f"{root}.output_proj.weight", (512, 256, 1)))
        for layer in range(layers):
            book = f"{root}.layers.{layer}.codebook"
            tensors.append((f"{book}.initialized", (1,)))
            if kind == "acoustic" and layer >= 15:  # 16 code groups are used, the encoder has 32
                tensors += [(f"{book}.embed_sum", (2048, 256)), (f"{book}.cluster_usage", (2048,))]
    return [(name, "F32", shape) for name, shape in tensors]


@pytest.mark.parametrize("name", ALIASES)
def test_the_tensors_that_are_read_are_the_recorded_ones(name):
    tensors = lm_tensors(name)
    counts = {"0.6b": 402, "0.6b-base": 478, "1.7b": 404, "1.7b-base": 480, "1.7b-design": 404}
    assert len(tensors) == counts[name]
    assert lines_digest(tensors) == load_answers().config(name)["tensors"][LM]
    size, _ = RELEASES[name].files[LM]
    header = size - sum(2 * int(np.prod(shape)) for _, _, shape in tensors)
    assert 40_000 < header < 64_000  # the file's size leaves room for the header, and for no other tensor


@pytest.mark.parametrize("name", ALIASES)
def test_the_codec_is_the_same_in_all_models(name):
    tensors = codec_tensors()
    assert len(tensors) == 496
    assert lines_digest(tensors) == load_answers().config(name)["tensors"][CODEC]
    size, digest = RELEASES[name].files["speech_tokenizer/config.json"]
    data = CODEC_CONFIG.read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (size, digest)


def test_the_codec_of_the_released_models():
    codec = load_codec_config(CODEC_CONFIG)
    assert codec == synthetic_config("0.6b").codec._replace(encoder=codec.encoder)


def test_every_alias_is_a_release():
    for alias, repo in ALIASES.items():
        assert release_of(repo) == RELEASES[alias]
        assert RELEASES[alias].repository == repo
    assert release_of("org/name") is None


def test_another_revision_is_named(tmp_path):
    repo, release = ALIASES["0.6b"], RELEASES["0.6b"]
    same = tmp_path / release.revision
    same.mkdir()
    assert revision_note(repo, same) is None
    newer = tmp_path / ("c0ffee" + "0" * 34)
    newer.mkdir()
    assert "revision c0ffee00 is not the one that this version was checked with (85e237c1)" in revision_note(
        repo, newer
    )
    assert revision_note("org/name", newer) is None
    assert revision_note(repo, tmp_path) is None  # a folder that no revision names


def test_another_file_in_the_same_revision_is_named(tmp_path):
    repo, release = ALIASES["0.6b"], RELEASES["0.6b"]
    folder = tmp_path / release.revision
    folder.mkdir()
    _, digest = release.files[LM]
    (folder / LM).symlink_to(f"../../blobs/{digest}")
    assert revision_note(repo, folder) is None
    (folder / LM).unlink()
    (folder / LM).symlink_to(f"../../blobs/{digest[::-1]}")
    assert f"{LM} is not the file" in revision_note(repo, folder)
    shutil.rmtree(folder)
