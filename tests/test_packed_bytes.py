"""Packed weights are the same bytes for every processor, compiler and C library, so that all builds share the files."""

from __future__ import annotations

import mmap
import zlib

import numpy as np
import pytest
from helpers import checkpoint_of

from qwen3tts_cli.engine.packing import codec_bytes, pack_codec
from qwen3tts_cli.models.checkpoint import open_checkpoint
from qwen3tts_cli.models.tensor_specs import collect_decoder
from qwen3tts_cli.packed.matrices import pack_in_memory


@pytest.mark.parametrize(("name", "checksum"), [("pocket", 3630375252), ("tiny-base", 1529834721)])
def test_the_codec(name, checksum):
    """A change of native/codec/pack.c needs a new Q3T_CODEC_LAYOUT, and its checksums here."""
    with open_checkpoint(checkpoint_of(name)) as checkpoint:
        config = checkpoint.config.codec
        out = np.frombuffer(mmap.mmap(-1, codec_bytes(config)), np.uint8)
        pack_codec(config, collect_decoder(config, checkpoint.files[1]), 2, out)
        assert zlib.crc32(out) == checksum


@pytest.mark.parametrize(("precision", "checksum"), [("int8", 355906892), ("int4", 3314228528)])
def test_the_matrices(precision, checksum):
    with open_checkpoint(checkpoint_of("pocket")) as checkpoint:
        packed, found = pack_in_memory(checkpoint, precision, threads=2).matrices, 0
        for key in sorted(packed):
            found = zlib.crc32(packed[key][1], found)
        assert found == checksum
