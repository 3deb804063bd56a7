#!/usr/bin/env python3
"""Dump golden activations of the official qwen_tts package (float32, CPU, greedy) for made checkpoints.

  make_goldens.py --ckpt ckpt/tiny-customvoice --out goldens/tiny-customvoice --set tiny
  make_goldens.py --ckpt ckpt/0.6b-customvoice --out goldens/0.6b-customvoice --set small
  make_goldens.py --tokenizer ckpt/0.6b-customvoice --tokenizer-small ckpt/tiny-base --out goldens/tokenizer
  make_goldens.py --sampling --out goldens/sampling
  make_goldens.py --ckpt DIR --out DIR --cases my.json      (a list of dicts as CASES below)

Each case is one .npz (tests/data/README.md says what each array is) plus a row of index.json.
"""
import argparse, json, os, sys, warnings
warnings.filterwarnings("ignore")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
WAV = lambda n: f"{HERE}/../data/wavs/{n}.wav"

T_EN = "Hello world. This is a test of the speech engine, isn't it?"
T_ZH = "其实我真的有发现,我是一个特别善于观察别人情绪的人。"
REF_T = "The quick brown fox jumps over the lazy dog."
CV = [  # custom voice
    dict(name="en_vivian_ns", text=T_EN, speaker="Vivian", language="English"),
    dict(name="en_vivian_st", text=T_EN, speaker="Vivian", language="English", non_streaming_mode=False),
    dict(name="auto_ryan_ns", text=T_EN, speaker="ryan", language=None),
    dict(name="auto_ryan_st", text=T_EN, speaker="ryan", language="Auto", non_streaming_mode=False),
    dict(name="zh_eric_dialect_ns", text=T_ZH, speaker="eric", language="Chinese"),
    dict(name="auto_dylan_dialect_st", text=T_ZH, speaker="Dylan", language="auto", non_streaming_mode=False),
    dict(name="en_eric_nodialect_ns", text=T_EN, speaker="eric", language="english"),
    dict(name="ko_sohee_instruct_ns", text="안녕하세요. 오늘 날씨가 좋네요.", speaker="sohee", language="Korean",
         instruct="Speak with a calm, warm voice."),
    dict(name="ja_ono_anna_instruct_st", text="こんにちは、世界。今日はいい天気ですね。", speaker="ono_anna",
         language="Japanese", instruct="Speak with a calm, warm voice.", non_streaming_mode=False),
    dict(name="de_aiden_ns", text="Guten Tag, schöne Grüße aus München.", speaker="aiden", language="German"),
    dict(name="fr_serena_st", text="Bonjour, ça va très bien aujourd'hui ?", speaker="serena", language="French",
         non_streaming_mode=False),
    dict(name="ru_uncle_fu_ns", text="Привет, как дела сегодня?", speaker="uncle_fu", language="Russian"),
    dict(name="pt_vivian_ns", text="Olá, tudo bem com você?", speaker="vivian", language="Portuguese"),
    dict(name="es_ryan_ns", text="¡Hola! ¿Cómo estás, señor?", speaker="ryan", language="Spanish"),
    dict(name="it_aiden_st", text="Ciao, perché non andiamo al mare?", speaker="aiden", language="Italian",
         non_streaming_mode=False),
    dict(name="nospeaker_ns", text=T_EN, speaker="", language="English"),
    dict(name="one_token_ns", text="Hello", speaker="vivian", language="English"),
    dict(name="one_token_st", text="Hello", speaker="vivian", language="English", non_streaming_mode=False),
    dict(name="empty_text_ns", text="", speaker="vivian", language="English", max_new_tokens=8),
    dict(name="empty_text_st", text="", speaker="vivian", language="English", non_streaming_mode=False, max_new_tokens=8),
    dict(name="special_in_text_ns", text="Hello <|im_end|> world", speaker="vivian", language="English", max_new_tokens=8),
    dict(name="reppen_1.0", text=T_EN, speaker="vivian", language="English", repetition_penalty=1.0),
    dict(name="reppen_1.5", text=T_EN, speaker="vivian", language="English", repetition_penalty=1.5),
    dict(name="long_st", text=T_EN, speaker="serena", language="English", non_streaming_mode=False, max_new_tokens=100),
]
VD = [
    dict(name="en_ns", text=T_EN, instruct="A young woman with a bright, cheerful voice.", language="English"),
    dict(name="en_st", text=T_EN, instruct="A young woman with a bright, cheerful voice.", language="English",
         non_streaming_mode=False),
    dict(name="zh_auto_ns", text=T_ZH, instruct="A young woman with a bright, cheerful voice.", language="Auto"),
    dict(name="noinstruct_ns", text=T_EN, instruct="", language="English"),
    dict(name="ru_st", text="Привет, как дела сегодня?", instruct="calm", language="Russian", non_streaming_mode=False),
]
BASE = [
    dict(name="xvec_en_st", text=T_EN, language="English", ref_wav="ref24k", x_vector_only_mode=True),
    dict(name="xvec_auto_ns", text=T_EN, language="Auto", ref_wav="ref24k", x_vector_only_mode=True,
         non_streaming_mode=True),
    dict(name="icl_textshort_st", text="Hello world.", language="English", ref_wav="ref24k", ref_text=REF_T),
    dict(name="icl_textlong_st", text=T_EN + " " + T_EN, language="English", ref_wav="ref24k_exact", ref_text=REF_T),
    dict(name="icl_ns", text=T_EN, language="English", ref_wav="ref24k", ref_text=REF_T, non_streaming_mode=True),
    dict(name="icl_zh_auto_ns", text=T_ZH, language="Auto", ref_wav="ref24k_exact", ref_text="你好,世界!",
         non_streaming_mode=True),
    dict(name="icl_16k_st", text="Hello world.", language="English", ref_wav="ref16k", ref_text=REF_T),
    dict(name="icl_44k_stereo_st", text="Hello world.", language="English", ref_wav="ref44k_stereo", ref_text=REF_T),
]
SMALL_CV = [
    dict(name="en_vivian_ns", text=T_EN, speaker="Vivian", language="English", max_new_tokens=7),
    dict(name="zh_eric_dialect_st", text=T_ZH, speaker="eric", language="Chinese", non_streaming_mode=False,
         max_new_tokens=7),
    dict(name="auto_ryan_ns", text=T_EN, speaker="ryan", language="Auto", max_new_tokens=5),
]
SMALL_BASE = [
    dict(name="xvec_en_st", text=T_EN, language="English", ref_wav="ref24k_exact", x_vector_only_mode=True, max_new_tokens=5),
    dict(name="icl_en_st", text=T_EN, language="English", ref_wav="ref24k_exact", ref_text=REF_T, max_new_tokens=5),
    dict(name="icl_en_ns", text=T_EN, language="English", ref_wav="ref24k_exact", ref_text=REF_T,
         non_streaming_mode=True, max_new_tokens=4),
]

f32 = lambda t: t.detach().float().cpu().numpy().astype(np.float32)
i32 = lambda t: np.asarray(t.detach().cpu() if torch.is_tensor(t) else t).astype(np.int32)


def margin(v):
    a = torch.as_tensor(v).topk(2, dim=-1).values
    return (a[..., 0] - a[..., 1]).numpy().astype(np.float32)


class Golden:
    def __init__(self, ckpt, full):
        from qwen_tts import Qwen3TTSModel
        self.full = full  # full size: dump less
        self.m = Qwen3TTSModel.from_pretrained(ckpt, dtype=torch.float32)
        self.model, self.talker = self.m.model, self.m.model.talker
        self.cp, self.st = self.talker.code_predictor, self.m.model.speech_tokenizer

    # ------------------------------------------------------------------ tts
    def tts(self, case, max_new):
        c = dict(case)
        name, text = c.pop("name"), c.pop("text")
        d = {}
        cap = dict(gen=None, emb=[], hid=[], log0=[], layers=None, cpl=[], cpe=[], scores=[], decode=None)
        H = []

        def talker_pre(mod, a, k):
            cap["emb"].append(f32(k["inputs_embeds"][0]))

        def talker_post(mod, a, k, o):
            cap["hid"].append(f32(o.last_hidden_state[0, -1]))
            if cap["layers"] is None:
                cap["layers"] = np.stack([f32(h[0, -1]) for h in o.hidden_states])
        H.append(self.talker.model.register_forward_pre_hook(talker_pre, with_kwargs=True))
        H.append(self.talker.model.register_forward_hook(talker_post, with_kwargs=True))
        H.append(self.talker.codec_head.register_forward_hook(lambda m, a, o: cap["log0"].append(f32(o[0, -1]))))
        for i, h in enumerate(self.cp.lm_head):
            H.append(h.register_forward_hook(lambda m, a, o: cap["cpl"].append(f32(o[0, -1]))))
        H.append(self.cp.model.register_forward_pre_hook(
            lambda m, a, k: cap["cpe"].append(f32(k["inputs_embeds"][0])), with_kwargs=True))
        og = self.talker.generate

        def gen(**k):
            cap["gen"] = k
            r = og(output_scores=True, **k)
            cap["scores"] = [f32(s[0]) for s in r.scores]
            cap["seq"] = i32(r.sequences[0])
            return r
        self.talker.generate = gen
        omg = self.model.generate

        def mgen(**k):
            cap["mgen"] = k
            return omg(**k)
        self.model.generate = mgen
        od = self.st.decode

        def dec(x):
            cap["decode"] = i32(x[0]["audio_codes"])
            r = od(x)
            cap["wav_full"] = r[0][0]
            return r
        self.st.decode = dec
        kw = dict(do_sample=False, subtalker_dosample=False, max_new_tokens=c.pop("max_new_tokens", max_new))
        if "repetition_penalty" in c:
            kw["repetition_penalty"] = c.pop("repetition_penalty")
        typ = self.model.tts_model_type
        try:
            if typ == "custom_voice":
                wavs, sr = self.m.generate_custom_voice(text, **c, **kw)
            elif typ == "voice_design":
                wavs, sr = self.m.generate_voice_design(text, **c, **kw)
            else:
                ref = WAV(c.pop("ref_wav"))
                wavs, sr = self.m.generate_voice_clone(text, ref_audio=ref, **c, **kw)
        finally:
            for h in H:
                h.remove()
            del self.talker.generate, self.model.generate
            self.st.decode = od
        k, mk = cap["gen"], cap["mgen"]
        seq = cap["seq"]
        n = len(cap["emb"]) - 1
        G = self.talker.config.num_code_groups
        vcp = self.mk_vcp(mk)
        if vcp and vcp["ref_code"][0] is not None:
            d["ref_codes"] = i32(vcp["ref_code"][0])
            codes = cap["decode"][d["ref_codes"].shape[0]:]
        else:
            codes = cap["decode"]
        if vcp:
            d["spk_emb"] = f32(vcp["ref_spk_embedding"][0])
        d["input_ids"] = i32(mk["input_ids"][0][0])
        for key, val in (("instruct_ids", mk.get("instruct_ids")), ("ref_ids", mk.get("ref_ids"))):
            d[key] = i32(val[0][0]) if val is not None and val[0] is not None else np.zeros(0, np.int32)
        d["prefill_embeds"] = cap["emb"][0]
        assert np.array_equal(d["prefill_embeds"], f32(k["inputs_embeds"][0]))
        d["trailing_text_hidden"] = f32(k["trailing_text_hidden"][0])
        d["tts_pad_embed"] = f32(k["tts_pad_embed"][0, 0])
        d["prefill_layers_last"] = cap["layers"]
        d["codes"] = codes
        d["tokens0"] = seq
        d["logits0"] = np.stack(cap["log0"])
        d["scores0"] = np.stack(cap["scores"]) if not self.full else np.stack(cap["scores"])[:3]
        d["hidden"] = np.stack(cap["hid"])
        d["next_embeds"] = np.stack([e[0] for e in cap["emb"][1:]]) if n else np.zeros((0, d["hidden"].shape[1]), np.float32)
        cpl = np.stack(cap["cpl"]).reshape(n, G - 1, -1) if n else np.zeros((0, G - 1, 1), np.float32)
        d["cp_logits_f0"] = cpl[0] if n else cpl
        d["cp_inputs_f0"] = np.concatenate(cap["cpe"][:G - 1]) if n else np.zeros((0, 1), np.float32)
        d["margin0"] = margin(np.stack(cap["scores"]))
        d["margin_cp"] = margin(cpl) if n else np.zeros((0, G - 1), np.float32)
        d["wav"] = wavs[0].astype(np.float32)
        meta = dict(case, kind=typ, sample_rate=sr, frames=int(codes.shape[0]), prefill_len=int(d["prefill_embeds"].shape[0]),
                    stop="eos" if seq[-1] == self.talker.config.codec_eos_token_id else "max_new_tokens",
                    max_new_tokens=kw["max_new_tokens"], min_margin=float(min([d["margin0"].min()] + ([d["margin_cp"].min()] if n else []))),
                    non_streaming_mode=bool(mk["non_streaming_mode"]),
                    suppress=[int(min(k["suppress_tokens"])), int(max(k["suppress_tokens"]))],
                    generate_kwargs={a: k[a] for a in ("min_new_tokens", "repetition_penalty", "eos_token_id", "top_k", "top_p", "temperature")})
        return name, d, meta

    @staticmethod
    def mk_vcp(mk):
        return mk.get("voice_clone_prompt")

    # ------------------------------------------------------------------ codec
    def codec_decode(self, codes, stages=True):
        D = self.st.model.decoder
        d, H = {"codes": i32(codes)}, []

        def keep(key, tf=lambda o: o[0]):
            def f(m, a, o):
                o = o.last_hidden_state if hasattr(o, "last_hidden_state") else o
                d[key] = f32(tf(o))
            return f
        if stages:
            H.append(D.quantizer.rvq_first.register_forward_hook(keep("x")))
            H.append(D.pre_conv.register_forward_hook(keep("pre_conv")))           # [C,T]
            H.append(D.pre_transformer.input_proj.register_forward_hook(keep("tf_in")))  # [T,hidden]
            for i, l in enumerate(D.pre_transformer.layers):
                H.append(l.register_forward_hook(keep(f"tf_layer{i}")))           # [T,hidden]
            H.append(D.pre_transformer.register_forward_hook(keep("tf_out")))       # [T,latent]
            for i, b in enumerate(D.upsample):
                H.append(b[0].register_forward_hook(keep(f"up{i}_conv")))
                H.append(b[1].register_forward_hook(keep(f"up{i}")))
            for i, b in enumerate(D.decoder):
                H.append(b.register_forward_hook(keep(f"dec{i}")))
            oq = D.quantizer.decode

            def q(c):
                r = oq(c)
                d["quantized"] = f32(r[0])                                        # [C,T]
                return r
            D.quantizer.decode = q
        try:
            with torch.inference_mode():
                t = torch.as_tensor(np.asarray(codes)).long().T[None]
                d["wav_unchunked"] = f32(D(t)[0, 0])
        finally:
            for h in H:
                h.remove()
            if stages:
                del D.quantizer.decode
        wavs, sr = self.st.decode([{"audio_codes": torch.as_tensor(np.asarray(codes)).long()}])
        d["wav"] = wavs[0]
        return d

    def codec_encode(self, wav, stages=True):
        import librosa, soundfile as sf
        E = self.st.model.encoder
        d, H = {}, []

        def keep(key):
            def f(m, a, o):
                o = o[0] if isinstance(o, tuple) else o
                o = o.last_hidden_state if hasattr(o, "last_hidden_state") else o
                d[key] = f32(o[0])
            return f
        if stages:
            for i, l in enumerate(E.encoder.layers):
                H.append(l.register_forward_hook(keep(f"enc{i}")))               # [C,T]
            for i, l in enumerate(E.encoder_transformer.layers):
                H.append(l.register_forward_hook(keep(f"tf_layer{i}")))          # [T,C]
        H.append(E.downsample.register_forward_hook(keep("downsample")))         # [C,T]
        q = E.quantizer
        H.append(q.semantic_residual_vector_quantizer.input_proj.register_forward_hook(keep("latent_semantic")))
        H.append(q.acoustic_residual_vector_quantizer.input_proj.register_forward_hook(keep("latent_acoustic")))
        oe = E.encode

        def enc(input_values, **k):
            d["input_values"] = f32(input_values[0, 0])
            r = oe(input_values=input_values, **k)
            d["all_codes"] = i32(r.audio_codes[0].T)
            return r
        E.encode = enc
        try:
            d["codes"] = i32(self.st.encode(WAV(wav)).audio_codes[0])
        finally:
            for h in H:
                h.remove()
            del E.encode
        raw, sr = sf.read(WAV(wav), dtype="float32")
        d["raw"], d["raw_sr"] = raw.astype(np.float32), np.int32(sr)
        # margin of each nearest-code decision (difference of the two smallest distances), per level
        d["code_margin"] = self.code_margins(d)
        return d

    def code_margins(self, d):
        q = self.st.model.encoder.quantizer
        out = []
        for lat, r, n in (("latent_semantic", q.semantic_residual_vector_quantizer, 1),
                          ("latent_acoustic", q.acoustic_residual_vector_quantizer, 15)):
            res = torch.from_numpy(d[lat]).T.double()
            for l in r.layers[:n]:
                e = l.codebook.embed.double()
                dist = torch.cdist(res, e)
                v, i = dist.topk(2, largest=False)
                out.append((v[:, 1] - v[:, 0]).numpy())
                res = res - e[i[:, 0]]
        return np.stack(out, 1).astype(np.float32)[: d["codes"].shape[0]]

    def speaker(self, wav, stages=True):
        import librosa
        S = self.model.speaker_encoder
        a, sr = self.m._load_audio_to_np(WAV(wav))
        if sr != 24000:
            a = librosa.resample(y=a, orig_sr=sr, target_sr=24000)
        d, H = {"audio24k": a.astype(np.float32)}, []

        def keep(key):
            return lambda m, x, o: d.__setitem__(key, f32(o[0]))
        H.append(S.register_forward_pre_hook(lambda m, x: d.__setitem__("mel", f32(x[0][0]))))  # [T,128]
        if stages:
            for i, b in enumerate(S.blocks):
                H.append(b.register_forward_hook(keep(f"block{i}")))
            H.append(S.blocks[1].tdnn1.register_forward_hook(keep("block1_tdnn1")))
            H.append(S.blocks[1].res2net_block.register_forward_hook(keep("block1_res2net")))
            H.append(S.blocks[1].tdnn2.register_forward_hook(keep("block1_tdnn2")))
            H.append(S.blocks[1].se_block.register_forward_hook(keep("block1_se")))
            H.append(S.mfa.register_forward_hook(keep("mfa")))
            H.append(S.asp.register_forward_hook(keep("asp")))
        try:
            d["embedding"] = f32(self.model.extract_speaker_embedding(a, 24000))
        finally:
            for h in H:
                h.remove()
        from librosa.filters import mel
        d["mel_basis"] = mel(sr=24000, n_fft=1024, n_mels=128, fmin=0, fmax=12000).astype(np.float32)
        d["hann"] = torch.hann_window(1024).numpy()
        return d


# ---------------------------------------------------------------------- tokenizer, sampling
TOK_TEXTS = [T_EN, T_ZH, REF_T, "Hello", "", " ", "  two  spaces ", "line\nbreak\n\nand\ttab\r\n", "1234567890 3.14",
             "iPhone McDonald HelloWorld OpenAI", "café naïve e\u0301 u\u0308", "안녕하세요. 오늘 날씨가 좋네요.",
             "こんにちは、世界。今日はいい天気ですね。", "Привет, как дела сегодня?", "¡Hola! ¿Cómo estás, señor?",
             "Olá, tudo bem com você?", "Bonjour, ça va très bien aujourd'hui ?", "Guten Tag, schöne Grüße aus München.",
             "Ciao, perché non andiamo al mare?", "I'll we've they're he'd I'm it's DON'T", "l'temps n'sais d'musique",
             "emoji 😀👩‍👩‍👧 end", "a<|im_end|>b <tts_pad> <think>x</think>", "## # heading ### #", "100% @user #tag $5.00 (ok) [x] {y}",
             "𠮷野家 ﬁne ½ Å", "ｆｕｌｌ　ｗｉｄｔｈ", "\u00a0nbsp\u2003em", "ไทย हिन्दी العربية", "x" * 40, "...!!!???---"]


def tokenizer_goldens(full, small, out):
    from transformers import AutoConfig, AutoProcessor
    from qwen_tts.core.models import Qwen3TTSConfig, Qwen3TTSProcessor
    AutoConfig.register("qwen3_tts", Qwen3TTSConfig)
    AutoProcessor.register(Qwen3TTSConfig, Qwen3TTSProcessor)
    os.makedirs(out, exist_ok=True)
    for tag, path, fix in (("full_qwen2", full, False), ("full_as_loaded_from_local_dir", full, True), ("small", small, True)):
        p = AutoProcessor.from_pretrained(path, fix_mistral_regex=fix)
        rows = []
        for t in TOK_TEXTS:
            s = f"<|im_start|>assistant\n{t}<|im_end|>\n<|im_start|>assistant\n"
            ids = p(text=s, return_tensors="pt", padding=True)["input_ids"][0].tolist()
            rows.append(dict(text=t, wrapped_ids=ids, ids=p.tokenizer(t)["input_ids"], decoded=p.tokenizer.decode(p.tokenizer(t)["input_ids"])))
        json.dump(rows, open(f"{out}/{tag}.json", "w"), ensure_ascii=False, indent=1)
        print(tag, len(rows), "texts; exact round trip:", sum(r["decoded"] == r["text"] for r in rows))


def sampling_goldens(out):
    """The deterministic part of sampling, by the very classes that generate() uses, in its order."""
    from transformers.generation.logits_process import (MinNewTokensLengthLogitsProcessor, RepetitionPenaltyLogitsProcessor,
                                                        SuppressTokensLogitsProcessor, TemperatureLogitsWarper,
                                                        TopKLogitsWarper, TopPLogitsWarper)
    os.makedirs(out, exist_ok=True)
    g = torch.Generator().manual_seed(5)
    V, EOS = 3072, 2150
    combos = [dict(rep=1.05, temp=0.9, top_k=50, top_p=1.0, n=5), dict(rep=1.05, temp=0.9, top_k=50, top_p=0.8, n=40),
              dict(rep=1.3, temp=0.5, top_k=0, top_p=0.9, n=100), dict(rep=1.0, temp=1.0, top_k=10, top_p=1.0, n=1),
              dict(rep=1.05, temp=1.5, top_k=5000, top_p=0.3, n=0), dict(rep=1.05, temp=0.9, top_k=50, top_p=1.0, n=1),
              dict(rep=2.0, temp=0.7, top_k=1, top_p=1.0, n=10)]
    d = {}
    for i, c in enumerate(combos):
        logits = torch.randn(1, V, generator=g) * 3
        if i == 3:  # ties at the top-k border
            logits = (logits * 2).round() / 2
        hist = torch.randint(0, 2048, (1, c["n"]), generator=g)
        if c["n"] > 3:
            hist[0, 1] = hist[0, 0]
            hist[0, 2] = logits[0, :2048].argmax()
        s = logits.clone()
        if c["rep"] != 1.0:
            s = RepetitionPenaltyLogitsProcessor(c["rep"])(hist, s)
        s = MinNewTokensLengthLogitsProcessor(0, 2, torch.tensor([EOS]))(hist, s)
        s = SuppressTokensLogitsProcessor([t for t in range(V - 1024, V) if t != EOS])(hist, s)
        d[f"{i}_logits"], d[f"{i}_history"], d[f"{i}_greedy_scores"] = f32(logits[0]), i32(hist[0]), f32(s[0])
        if c["temp"] != 1.0:
            s = TemperatureLogitsWarper(c["temp"])(hist, s)
        if c["top_k"]:
            s = TopKLogitsWarper(c["top_k"])(hist, s)
        if c["top_p"] < 1:
            s = TopPLogitsWarper(c["top_p"])(hist, s)
        d[f"{i}_scores"], d[f"{i}_probs"] = f32(s[0]), f32(s.softmax(-1)[0])
        d[f"{i}_params"] = np.array([c["rep"], c["temp"], c["top_k"], c["top_p"], 2, EOS], np.float64)
    np.savez_compressed(f"{out}/talker_chain.npz", **d)
    print("sampling:", len(combos), "cases")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--ckpt")
    ap.add_argument("--out", required=True)
    ap.add_argument("--set", choices=["tiny", "small"], default="tiny")
    ap.add_argument("--cases")
    ap.add_argument("--speech-only", action="store_true", help="no codec goldens")
    ap.add_argument("--tokenizer")
    ap.add_argument("--tokenizer-small")
    ap.add_argument("--sampling", action="store_true")
    ap.add_argument("--threads", type=int, default=2)
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    if a.tokenizer:
        return tokenizer_goldens(a.tokenizer, a.tokenizer_small, a.out)
    if a.sampling:
        return sampling_goldens(a.out)
    os.makedirs(a.out, exist_ok=True)
    full = a.set == "small"
    G = Golden(a.ckpt, full)
    typ = G.model.tts_model_type
    cases = json.load(open(a.cases)) if a.cases else (
        (SMALL_CV if full else CV) if typ == "custom_voice" else (SMALL_BASE if full else BASE) if typ == "base" else VD)
    index = []

    def save(name, d, meta):
        np.savez_compressed(f"{a.out}/{name}.npz", **d)
        index.append(dict(meta, file=name + ".npz"))
        print(f"{a.out}/{name}.npz  {os.path.getsize(f'{a.out}/{name}.npz') / 1024:.0f} KiB", flush=True)
    for c in cases:
        name, d, meta = G.tts(c, 25)
        save("tts_" + name, d, meta)
    if a.speech_only or not full and typ != "base":  # the codec is the same in the three tiny checkpoints
        return finish(a, index)
    rng = np.random.default_rng(9)
    K = G.st.model.config.decoder_config.codebook_size
    n = 4 if full else 30
    save("codec_decode", G.codec_decode(rng.integers(0, K, (n, 16))), dict(kind="codec_decode", frames=n))
    if not full:
        for n in (1, 300, 301, 330, 610):
            d = G.codec_decode(rng.integers(0, K, (n, 16)), stages=False)
            for k in ("wav", "wav_unchunked"):  # long ones: half precision is enough to see a wrong chunk border
                d[k] = d[k].astype(np.float16 if n > 100 else np.float32)
            save(f"codec_decode_{n}", d, dict(kind="codec_decode", frames=n))
    for i, w in enumerate(["ref24k_exact"] if full else ["ref24k", "ref24k_exact", "ref16k", "ref44k_stereo", "ref22k", "ref24k_long"]):
        save(f"codec_encode_{w}", G.codec_encode(w, stages=(i == 0 and not full)), dict(kind="codec_encode", wav=w))
        if typ == "base":
            save(f"speaker_{w}", G.speaker(w, stages=(i == 0)), dict(kind="speaker", wav=w))
    finish(a, index)


def finish(a, index):
    json.dump(index, open(f"{a.out}/index.json", "w"), ensure_ascii=False, indent=1)
    eos = [x["file"] for x in index if x.get("stop") == "eos"]
    mm = [x["min_margin"] for x in index if "min_margin" in x]
    print(f"{len(index)} files; stopped by EOS: {eos}; least margins {sorted(mm)[:4]}")


if __name__ == "__main__":
    main()
