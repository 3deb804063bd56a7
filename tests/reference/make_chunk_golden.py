#!/usr/bin/env python3
"""make_chunk_golden.py CKPT OUT.npz: 310 random frames through the official chunked decode of a full-size codec (300
frames, then the rest with 25 of left context) and through one pass; the samples from frame 295 on are kept."""
import sys
import warnings

warnings.filterwarnings("ignore")
import numpy as np
import torch
from qwen_tts import Qwen3TTSTokenizer

FRAMES, KEPT, SAMPLES = 310, 295, 1920
torch.set_num_threads(2)
tokenizer = Qwen3TTSTokenizer.from_pretrained(sys.argv[1] + "/speech_tokenizer")
codes = np.random.default_rng(310).integers(0, 2048, (FRAMES, 16))
wavs, _ = tokenizer.decode([{"audio_codes": torch.from_numpy(codes)}])
with torch.inference_mode():
    unchunked = tokenizer.model.decoder(torch.from_numpy(codes).T[None])[0, 0].numpy()
first = KEPT * SAMPLES
np.savez_compressed(sys.argv[2], codes=codes.astype(np.int32), first_sample=first, wav=wavs[0][first:],
                    wav_unchunked=unchunked[first:])
