#!/usr/bin/env python3
"""Independent NumPy implementation of Qwen3-TTS inference, without torch or transformers: the oracle of the tests.
`np_ref.py CKPT GOLDENS` reproduces every golden of make_goldens.py and prints the largest differences.
Clear rather than fast; meant for the tiny checkpoints (works on the full ones, slowly).
"""
import json, math, os, sys, unicodedata
import numpy as np
import regex

F = np.float32


# ------------------------------------------------------------------ safetensors
def load_safetensors(path):
    buf = np.memmap(path, np.uint8, "r")
    n = int(buf[:8].view("<u8")[0])
    head = json.loads(bytes(buf[8:8 + n]))
    out = {}
    for k, v in head.items():
        if k == "__metadata__":
            continue
        a, b = v["data_offsets"]
        raw = buf[8 + n + a:8 + n + b]
        if v["dtype"] == "BF16":
            x = (np.frombuffer(raw.tobytes(), "<u2").astype(np.uint32) << 16).view(F)
        else:
            assert v["dtype"] == "F32"
            x = np.frombuffer(raw.tobytes(), "<f4")
        out[k] = x.reshape(v["shape"])
    return out


# ------------------------------------------------------------------ tokenizer
def b2u():
    bs = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    cs, n = bs[:], 0
    for b in range(256):
        if b not in bs:
            bs.append(b)
            cs.append(256 + n)
            n += 1
    return dict(zip(bs, map(chr, cs)))


class Tokenizer:
    PAT = regex.compile(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

    def __init__(self, d):
        self.vocab = json.load(open(d + "/vocab.json", encoding="utf-8"))
        lines = open(d + "/merges.txt", encoding="utf-8").read().split("\n")
        if lines[0].startswith("#version"):
            lines = lines[1:]
        self.rank = {tuple(l.split(" ")): i for i, l in enumerate(x for x in lines if x)}  # 96 real merges begin with '#'
        added = json.load(open(d + "/tokenizer_config.json", encoding="utf-8"))["added_tokens_decoder"]
        self.added = {v["content"]: int(k) for k, v in added.items()}
        self.split = regex.compile("(" + "|".join(regex.escape(t) for t in sorted(self.added, key=len, reverse=True)) + ")")
        self.b2u = b2u()

    def __call__(self, text):
        ids = []
        for part in self.split.split(text):  # added tokens are cut out of the raw text first, then NFC on the rest
            if part in self.added:
                ids.append(self.added[part])
                continue
            for w in self.PAT.findall(unicodedata.normalize("NFC", part)):
                p = [self.b2u[b] for b in w.encode("utf-8")]
                while len(p) > 1:
                    r, i = min((self.rank.get((p[i], p[i + 1]), 1 << 30), i) for i in range(len(p) - 1))
                    if r == 1 << 30:
                        break
                    p[i:i + 2] = [p[i] + p[i + 1]]
                ids += [self.vocab[x] for x in p]
        return ids


# ------------------------------------------------------------------ basic ops
def rms(x, w, eps):
    return w * (x / np.sqrt(np.mean(x * x, -1, keepdims=True) + F(eps))).astype(F)


def layernorm(x, w, b, eps):
    m = x.mean(-1, keepdims=True)
    v = ((x - m) ** 2).mean(-1, keepdims=True)
    return (x - m) / np.sqrt(v + F(eps)) * w + b


silu = lambda x: x / (1 + np.exp(-x))
_erf = np.vectorize(math.erf, otypes=[F])
gelu = lambda x: F(0.5) * x * (1 + _erf(x / F(math.sqrt(2))))
elu = lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))).astype(F)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def rope(x, pos, theta):  # x [heads,T,d]: halves (NeoX), not adjacent pairs
    d = x.shape[-1]
    inv = (1.0 / (theta ** (np.arange(0, d, 2, dtype=F) / F(d)))).astype(F)
    a = pos.astype(F)[:, None] * inv[None]
    c, s = np.cos(a).astype(F), np.sin(a).astype(F)
    x1, x2 = x[..., : d // 2], x[..., d // 2:]
    return np.concatenate([x1 * c - x2 * s, x2 * c + x1 * s], -1)


def attention(q, k, v, q0, window=None):  # q [H,Tq,d], k,v [K,Tk,d]; query i sits at position q0+i
    g = q.shape[0] // k.shape[0]
    k, v = np.repeat(k, g, 0), np.repeat(v, g, 0)
    s = q @ k.transpose(0, 2, 1) / F(math.sqrt(q.shape[-1]))
    qi, ki = np.arange(q.shape[1])[:, None] + q0, np.arange(k.shape[1])[None]
    ok = ki <= qi
    if window:
        ok &= ki > qi - window
    return softmax(np.where(ok, s, -np.inf)) @ v


def conv1d(x, w, b=None, stride=1, dilation=1, groups=1):  # x [C,T] already padded; w [O,I/g,K]
    O, I, K = w.shape
    T = (x.shape[1] - (K - 1) * dilation - 1) // stride + 1
    y = np.zeros((O, T), F)
    for k in range(K):
        xs = x[:, k * dilation: k * dilation + (T - 1) * stride + 1: stride]
        if groups == 1:
            y += w[:, :, k] @ xs
        else:  # depthwise
            y += w[:, 0, k][:, None] * xs
    return y if b is None else y + b[:, None]


def causal(x, w, b=None, stride=1, dilation=1, groups=1, mode="constant"):
    """Left pad (K-1)*dilation+1-stride; right pad so that the last window is whole: T_out = ceil(T/stride)."""
    K = (w.shape[2] - 1) * dilation + 1
    left = K - stride
    n = math.ceil((x.shape[1] - K + left) / stride + 1)
    extra = (n - 1) * stride + K - left - x.shape[1]
    return conv1d(np.pad(x, ((0, 0), (left, extra)), "constant" if mode == "constant" else "edge"), w, b, stride, dilation, groups)


def causal_transpose(x, w, b, stride):  # w [I,O,K]; trims K-stride on the right only: T_out = T*stride
    I, O, K = w.shape
    y = np.zeros((O, (x.shape[1] - 1) * stride + K), F)
    for k in range(K):
        y[:, k: k + (x.shape[1] - 1) * stride + 1: stride] += w[:, :, k].T @ x
    y += b[:, None]
    return y[:, : y.shape[1] - (K - stride)]


# ------------------------------------------------------------------ talker, code predictor
class Qwen3:
    def __init__(self, W, pre, c):
        self.W, self.pre, self.c = W, pre, c
        self.reset()

    def reset(self):
        self.kv = [None] * self.c["num_hidden_layers"]
        self.n = 0

    def forward(self, x, taps=None):  # x [T,H] at positions n..n+T-1 -> normed hidden [T,H]
        c, W = self.c, self.W
        nh, nk, d, eps = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"], c["rms_norm_eps"]
        T = x.shape[0]
        pos = np.arange(self.n, self.n + T)
        for i in range(c["num_hidden_layers"]):
            if taps is not None:
                taps.append(x[-1].copy())
            p = f"{self.pre}.layers.{i}."
            h = rms(x, W[p + "input_layernorm.weight"], eps)
            hd = lambda n, k: (h @ W[p + f"self_attn.{n}_proj.weight"].T).reshape(T, k, d).transpose(1, 0, 2)
            q = rope(rms(hd("q", nh), W[p + "self_attn.q_norm.weight"], eps), pos, c["rope_theta"])
            k = rope(rms(hd("k", nk), W[p + "self_attn.k_norm.weight"], eps), pos, c["rope_theta"])
            v = hd("v", nk)
            if self.kv[i] is not None:
                k, v = np.concatenate([self.kv[i][0], k], 1), np.concatenate([self.kv[i][1], v], 1)
            self.kv[i] = (k, v)
            a = attention(q, k, v, self.n).transpose(1, 0, 2).reshape(T, nh * d)
            x = x + a @ W[p + "self_attn.o_proj.weight"].T
            h = rms(x, W[p + "post_attention_layernorm.weight"], eps)
            x = x + (silu(h @ W[p + "mlp.gate_proj.weight"].T) * (h @ W[p + "mlp.up_proj.weight"].T)) @ W[p + "mlp.down_proj.weight"].T
        self.n += T
        x = rms(x, W[self.pre + ".norm.weight"], eps)
        if taps is not None:
            taps.append(x[-1].copy())
        return x


class Model:
    def __init__(self, d):
        self.cfg = json.load(open(d + "/config.json"))
        self.t = self.cfg["talker_config"]
        self.W = load_safetensors(d + "/model.safetensors")
        self.tok = Tokenizer(d)
        self.talker = Qwen3(self.W, "talker.model", self.t)
        self.cp = Qwen3(self.W, "talker.code_predictor.model", self.t["code_predictor_config"])
        self.codec = Codec(d + "/speech_tokenizer")

    # ---- embeddings
    def text(self, ids):
        W, p = self.W, "talker.text_projection.linear_"
        e = W["talker.model.text_embedding.weight"][np.asarray(ids, np.int64)]
        return silu(e @ W[p + "fc1.weight"].T + W[p + "fc1.bias"]) @ W[p + "fc2.weight"].T + W[p + "fc2.bias"]

    def codec_emb(self, ids):
        return self.W["talker.model.codec_embedding.weight"][np.asarray(ids, np.int64)]

    def cp_emb(self, g, ids):  # g = 1..15
        return self.W[f"talker.code_predictor.model.codec_embedding.{g - 1}.weight"][np.asarray(ids, np.int64)]

    def mtp(self, x):
        w = self.W.get("talker.code_predictor.small_to_mtp_projection.weight")
        return x if w is None else x @ w.T + self.W["talker.code_predictor.small_to_mtp_projection.bias"]

    # ---- prompt
    def prompt(self, text, language=None, speaker=None, instruct=None, non_streaming=True, spk_emb=None, ref_codes=None, ref_text=None):
        t, c = self.t, self.cfg
        ids = self.tok(f"<|im_start|>assistant\n{text}<|im_end|>\n<|im_start|>assistant\n")
        body = ids[3:-5]
        lang = (language or "auto").lower()
        lid = None if lang == "auto" else t["codec_language_id"][lang]
        if speaker and lang in ("chinese", "auto") and t["spk_is_dialect"][speaker.lower()] is not False:
            lid = t["codec_language_id"][t["spk_is_dialect"][speaker.lower()]]
        pre = [t["codec_nothink_id"], t["codec_think_bos_id"], t["codec_think_eos_id"]] if lid is None else \
              [t["codec_think_id"], t["codec_think_bos_id"], lid, t["codec_think_eos_id"]]
        rows = [self.codec_emb(pre)]
        if spk_emb is not None:
            rows.append(spk_emb[None])
        elif speaker:
            rows.append(self.codec_emb([t["spk_id"][speaker.lower()]]))
        rows.append(self.codec_emb([t["codec_pad_id"]]))
        cod = np.concatenate(rows)
        bos, eos, pad = (self.text([c[k]]) for k in ("tts_bos_token_id", "tts_eos_token_id", "tts_pad_token_id"))
        out = []
        if instruct:
            out.append(self.text(self.tok(f"<|im_start|>user\n{instruct}<|im_end|>\n")))
        out.append(self.text(ids[:3]))
        out.append(np.concatenate([np.repeat(pad, len(cod) - 1, 0), bos]) + cod)
        cbos, cpad = self.codec_emb([t["codec_bos_id"]]), self.codec_emb([t["codec_pad_id"]])
        if ref_codes is not None:
            rid = self.tok(f"<|im_start|>assistant\n{ref_text}<|im_end|>\n")[3:-2]
            te = np.concatenate([self.text(rid + body), eos])
            ce = self.codec_emb(ref_codes[:, 0]) + sum(self.cp_emb(g, ref_codes[:, g]) for g in range(1, t["num_code_groups"]))
            ce = np.concatenate([cbos, ce])
            if non_streaming:
                out += [te + cpad, ce + pad]
                trail = pad
            elif len(te) > len(ce):
                out.append(te[: len(ce)] + ce)
                trail = te[len(ce):]
            else:
                out.append(np.concatenate([te, np.repeat(pad, len(ce) - len(te), 0)]) + ce)
                trail = pad
        elif non_streaming:
            te = np.concatenate([self.text(body), eos]) if body else eos
            out += [te + cpad, pad + cbos]
            trail = pad
        else:
            out.append(self.text(ids[3:4]) + cbos)
            rest = ids[4:-5]
            trail = np.concatenate([self.text(rest), eos]) if rest else eos
        return ids, np.concatenate(out).astype(F), trail, pad[0]

    # ---- generation (greedy)
    def scores(self, logits, hist, rep, min_new=2):
        V, eos = self.t["vocab_size"], self.t["codec_eos_token_id"]
        s = logits.copy()
        if rep != 1.0:
            u = np.unique(hist).astype(int)
            s[u] = np.where(s[u] < 0, s[u] * F(rep), s[u] / F(rep))
        if len(hist) < min_new:
            s[eos] = -np.inf
        keep = s[eos]
        s[V - 1024:] = -np.inf
        s[eos] = keep
        return s

    def frame(self, hidden, c0, taps=None):
        W, G = self.W, self.t["num_code_groups"]
        self.cp.reset()
        x = self.mtp(np.stack([hidden, self.codec_emb([c0])[0]]))
        codes, logits, ins = [c0], [], [x]
        for g in range(1, G):
            h = self.cp.forward(x)[-1]
            lg = W[f"talker.code_predictor.lm_head.{g - 1}.weight"] @ h
            logits.append(lg)
            codes.append(int(lg.argmax()))
            if g < G - 1:
                x = self.mtp(self.cp_emb(g, codes[g:g + 1]))
                ins.append(x)
        if taps is not None:
            taps += [np.stack(logits), np.concatenate(ins)]
        return codes

    def generate(self, embeds, trail, pad, max_new, rep=1.05, force=None):
        W, t = self.W, self.t
        self.talker.reset()
        layers = []
        x = self.talker.forward(embeds, layers)[-1]
        r = dict(logits0=[], scores0=[], tokens0=[], hidden=[], codes=[], next_embeds=[], layers=np.stack(layers))
        while True:
            lg = W["talker.codec_head.weight"] @ x
            s = self.scores(lg, np.array(r["tokens0"]), rep)
            tok = int(s.argmax())
            r["logits0"].append(lg); r["scores0"].append(s); r["hidden"].append(x); r["tokens0"].append(tok)
            if tok == t["codec_eos_token_id"] or len(r["tokens0"]) >= max_new:
                break
            taps = [] if not r["codes"] else None
            codes = self.frame(x, tok, taps)
            if taps:
                r["cp_logits_f0"], r["cp_inputs_f0"] = taps
            step = len(r["codes"])
            e = self.codec_emb([codes[0]])[0] + sum(self.cp_emb(g, [codes[g]])[0] for g in range(1, t["num_code_groups"]))
            e = e + (trail[step] if step < len(trail) else pad)
            r["codes"].append(codes); r["next_embeds"].append(e)
            x = self.talker.forward(e[None])[-1]
        return r

    # ---- speaker encoder
    def mel(self, y):
        basis, n, hop = mel_basis(), 1024, 256
        y = np.pad(y, (n - hop) // 2, "reflect")
        win = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)).astype(F)  # periodic Hann
        nf = (len(y) - n) // hop + 1
        fr = np.stack([y[i * hop: i * hop + n] * win for i in range(nf)])
        sp = np.fft.rfft(fr, axis=1)
        mag = np.sqrt((sp.real ** 2 + sp.imag ** 2) + 1e-9).astype(F)
        return np.log(np.maximum(mag @ basis.T, F(1e-5)))

    def speaker(self, y, taps=None):
        s = dict(enc_channels=[512, 512, 512, 512, 1536], enc_kernel_sizes=[5, 3, 3, 3, 1], enc_dilations=[1, 2, 3, 4, 1],
                 enc_res2net_scale=8)
        s.update(self.cfg["speaker_encoder_config"])
        W, ch, ks, dl = self.W, s["enc_channels"], s["enc_kernel_sizes"], s["enc_dilations"]

        def conv(n, x, dil=1):  # padding "same", reflect; total (K-1)*dil, even here
            w, b = W[f"speaker_encoder.{n}.weight"], W[f"speaker_encoder.{n}.bias"]
            p = (w.shape[2] - 1) * dil // 2
            return conv1d(np.pad(x, ((0, 0), (p, p)), "reflect") if p else x, w, b, 1, dil)
        relu = lambda v: np.maximum(v, 0)
        taps = {} if taps is None else taps
        taps["mel"] = self.mel(y)
        x = relu(conv("blocks.0.conv", taps["mel"].T, dl[0]))
        taps["block0"] = x
        outs = []
        for i in range(1, len(ch) - 1):
            h = relu(conv(f"blocks.{i}.tdnn1.conv", x))
            parts, o = np.split(h, s["enc_res2net_scale"]), []
            for j, pt in enumerate(parts):
                o.append(pt if j == 0 else relu(conv(f"blocks.{i}.res2net_block.blocks.{j - 1}.conv", pt if j == 1 else pt + o[-1], dl[i])))
            h = relu(conv(f"blocks.{i}.tdnn2.conv", np.concatenate(o)))
            m = relu(conv(f"blocks.{i}.se_block.conv1", h.mean(1, keepdims=True)))
            m = 1 / (1 + np.exp(-conv(f"blocks.{i}.se_block.conv2", m)))
            x = h * m + x
            taps[f"block{i}"] = x
            outs.append(x)
        x = relu(conv("mfa.conv", np.concatenate(outs), dl[-1]))
        taps["mfa"] = x

        def stats(m):
            mean = (m * x).sum(1)
            return mean, np.sqrt(np.maximum((m * (x - mean[:, None]) ** 2).sum(1), F(1e-12)))
        T = x.shape[1]
        mean, std = stats(F(1.0 / T))
        a = np.concatenate([x, np.repeat(mean[:, None], T, 1), np.repeat(std[:, None], T, 1)])
        a = conv("asp.conv", np.tanh(relu(conv("asp.tdnn.conv", a))))
        mean, std = stats(softmax(a))
        taps["asp"] = np.concatenate([mean, std])[:, None]
        return conv("fc", taps["asp"])[:, 0]


def mel_basis(sr=24000, n_fft=1024, n_mels=128, fmin=0.0, fmax=12000.0):  # librosa: slaney scale, slaney norm
    def to_mel(f):
        f = np.asarray(f, float)
        return np.where(f < 1000, f / (200 / 3), 15 + np.log(np.maximum(f, 1e-9) / 1000) / (np.log(6.4) / 27))

    def to_hz(m):
        return np.where(m < 15, m * (200 / 3), 1000 * np.exp((np.log(6.4) / 27) * (m - 15)))
    pts = to_hz(np.linspace(to_mel(fmin), to_mel(fmax), n_mels + 2))
    fr = np.arange(n_fft // 2 + 1) * sr / n_fft
    lo = (fr[None] - pts[:-2, None]) / (pts[1:-1] - pts[:-2])[:, None]
    up = (pts[2:, None] - fr[None]) / (pts[2:] - pts[1:-1])[:, None]
    return (np.maximum(0, np.minimum(lo, up)) * (2 / (pts[2:] - pts[:-2]))[:, None]).astype(F)


# ------------------------------------------------------------------ codec
class Codec:
    def __init__(self, d):
        self.cfg = json.load(open(d + "/config.json"))
        self.W = load_safetensors(d + "/model.safetensors")

    def book(self, p, name):
        return self.W[p + name] / np.maximum(self.W[p + "cluster_usage"], F(1e-5))[:, None]

    def decode_pass(self, codes, taps=None):  # [T,16] -> wav [T*1920]
        W, c = self.W, self.cfg["decoder_config"]
        taps = {} if taps is None else taps
        q = "decoder.quantizer."
        first = self.book(q + "rvq_first.vq.layers.0._codebook.", "embedding_sum")[codes[:, 0]]
        rest = sum(self.book(f"{q}rvq_rest.vq.layers.{i}._codebook.", "embedding_sum")[codes[:, i + 1]] for i in range(c["num_quantizers"] - 1))
        x = (first @ W[q + "rvq_first.output_proj.weight"][:, :, 0].T + rest @ W[q + "rvq_rest.output_proj.weight"][:, :, 0].T).T
        taps["quantized"] = x
        x = causal(x, W["decoder.pre_conv.conv.weight"], W["decoder.pre_conv.conv.bias"])
        taps["pre_conv"] = x
        p = "decoder.pre_transformer."
        x = x.T @ W[p + "input_proj.weight"].T + W[p + "input_proj.bias"]
        taps["tf_in"] = x
        T, nh, nk, d, eps = x.shape[0], c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"], c["rms_norm_eps"]
        pos = np.arange(T)
        for i in range(c["num_hidden_layers"]):
            l = f"{p}layers.{i}."
            h = rms(x, W[l + "input_layernorm.weight"], eps)
            hd = lambda n, k: (h @ W[l + f"self_attn.{n}_proj.weight"].T).reshape(T, k, d).transpose(1, 0, 2)
            a = attention(rope(hd("q", nh), pos, c["rope_theta"]), rope(hd("k", nk), pos, c["rope_theta"]), hd("v", nk), 0, c["sliding_window"])
            x = x + W[l + "self_attn_layer_scale.scale"] * (a.transpose(1, 0, 2).reshape(T, -1) @ W[l + "self_attn.o_proj.weight"].T)
            h = rms(x, W[l + "post_attention_layernorm.weight"], eps)
            h = (silu(h @ W[l + "mlp.gate_proj.weight"].T) * (h @ W[l + "mlp.up_proj.weight"].T)) @ W[l + "mlp.down_proj.weight"].T
            x = x + W[l + "mlp_layer_scale.scale"] * h
            taps[f"tf_layer{i}"] = x
        x = rms(x, W[p + "norm.weight"], eps) @ W[p + "output_proj.weight"].T + W[p + "output_proj.bias"]
        taps["tf_out"] = x
        x = x.T
        for i, r in enumerate(c["upsampling_ratios"]):
            u = f"decoder.upsample.{i}."
            x = causal_transpose(x, W[u + "0.conv.weight"], W[u + "0.conv.bias"], r)
            taps[f"up{i}_conv"] = x
            h = causal(x, W[u + "1.dwconv.conv.weight"], W[u + "1.dwconv.conv.bias"], groups=x.shape[0]).T
            h = layernorm(h, W[u + "1.norm.weight"], W[u + "1.norm.bias"], 1e-6)
            h = gelu(h @ W[u + "1.pwconv1.weight"].T + W[u + "1.pwconv1.bias"]) @ W[u + "1.pwconv2.weight"].T + W[u + "1.pwconv2.bias"]
            x = x + (W[u + "1.gamma"] * h).T
            taps[f"up{i}"] = x

        def snake(x, n):
            a, b = np.exp(W[n + ".alpha"])[:, None], np.exp(W[n + ".beta"])[:, None]
            return x + (1 / (b + F(1e-9))) * np.sin(x * a) ** 2
        cv = lambda x, n, **k: causal(x, W[n + ".conv.weight"], W[n + ".conv.bias"], **k)
        x = cv(x, "decoder.decoder.0")
        taps["dec0"] = x
        for i, r in enumerate(c["upsample_rates"]):
            b = f"decoder.decoder.{i + 1}.block."
            x = causal_transpose(snake(x, b + "0"), W[b + "1.conv.weight"], W[b + "1.conv.bias"], r)
            for j, dil in enumerate((1, 3, 9)):
                u = f"{b}{j + 2}."
                h = cv(snake(x, u + "act1"), u + "conv1", dilation=dil)
                x = x + cv(snake(h, u + "act2"), u + "conv2")
            taps[f"dec{i + 1}"] = x
        n = len(c["upsample_rates"]) + 1
        x = snake(x, f"decoder.decoder.{n}")
        taps[f"dec{n}"] = x
        x = cv(x, f"decoder.decoder.{n + 1}")
        taps[f"dec{n + 1}"] = x
        return np.clip(x[0], -1, 1)

    def decode(self, codes, chunk=300, left=25):
        out, s, up = [], 0, self.cfg["decode_upsample_rate"]
        while s < len(codes):
            e = min(s + chunk, len(codes))
            ctx = left if s - left > 0 else s
            out.append(self.decode_pass(codes[s - ctx:e])[ctx * up:])
            s = e
        return np.concatenate(out)

    def encode(self, y, taps=None):  # y float32 mono 24 kHz
        W, c = self.W, self.cfg["encoder_config"]
        taps = {} if taps is None else taps
        p, idx = "encoder.encoder.layers.", 0
        cv = lambda x, n, **k: causal(x, W[n + ".conv.weight"], W[n + ".conv.bias"], **k)
        x = cv(y[None], p + "0")
        taps["enc0"] = x
        idx = 1
        for r in reversed(c["upsampling_ratios"]):
            for j in range(c["num_residual_layers"]):
                h = cv(elu(x), f"{p}{idx}.block.1", dilation=c["dilation_growth_rate"] ** j)
                x = x + cv(elu(h), f"{p}{idx}.block.3")
                taps[f"enc{idx}"] = x
                idx += 1
            x = elu(x)
            taps[f"enc{idx}"] = x
            x = cv(x, f"{p}{idx + 1}", stride=r)
            taps[f"enc{idx + 1}"] = x
            idx += 2
        x = cv(elu(x), f"{p}{idx + 1}")
        taps[f"enc{idx + 1}"] = x
        x = x.T
        T, nh, nk, d, eps = x.shape[0], c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"], c["norm_eps"]
        pos = np.arange(T)
        for i in range(c["num_hidden_layers"]):
            l = f"encoder.encoder_transformer.layers.{i}."
            h = layernorm(x, W[l + "input_layernorm.weight"], W[l + "input_layernorm.bias"], eps)
            hd = lambda n, k: (h @ W[l + f"self_attn.{n}_proj.weight"].T).reshape(T, k, d).transpose(1, 0, 2)
            a = attention(rope(hd("q", nh), pos, c["rope_theta"]), rope(hd("k", nk), pos, c["rope_theta"]), hd("v", nk), 0)  # no window
            x = x + W[l + "self_attn_layer_scale.scale"] * (a.transpose(1, 0, 2).reshape(T, -1) @ W[l + "self_attn.o_proj.weight"].T)
            h = layernorm(x, W[l + "post_attention_layernorm.weight"], W[l + "post_attention_layernorm.bias"], eps)
            x = x + W[l + "mlp_layer_scale.scale"] * (gelu(h @ W[l + "mlp.fc1.weight"].T) @ W[l + "mlp.fc2.weight"].T)
            taps[f"tf_layer{i}"] = x
        x = causal(x.T, W["encoder.downsample.conv.weight"], stride=2, mode="edge")
        taps["downsample"] = x
        codes = []
        n_valid = self.cfg["encoder_valid_num_quantizers"]
        for side, tap, n in (("semantic", "latent_semantic", 1), ("acoustic", "latent_acoustic", n_valid - 1)):
            q = f"encoder.quantizer.{side}_residual_vector_quantizer."
            res = (W[q + "input_proj.weight"][:, :, 0] @ x).T
            taps[tap] = res.T
            for i in range(n):
                e = self.book(f"{q}layers.{i}.codebook.", "embed_sum")
                k = (((res ** 2).sum(1)[:, None] - 2 * res @ e.T) + (e ** 2).sum(1)[None]).argmin(1)
                codes.append(k)
                res = res - e[k]
        up = self.cfg["encode_downsample_rate"]
        return np.stack(codes, 1)[: -(-len(y) // up)]


# ------------------------------------------------------------------ comparison with the goldens
def main():
    ck, gd = sys.argv[1:3]
    only = sys.argv[3] if len(sys.argv) > 3 else ""
    M, worst = Model(ck), {}
    bad = 0
    for row in json.load(open(gd + "/index.json")):
        if only not in row["file"]:
            continue
        g = dict(np.load(f"{gd}/{row['file']}"))
        rep, taps = {}, {}

        def cmp(k, a, b=None):
            b = g[k] if b is None else b
            a = np.asarray(a)
            if a.shape != b.shape:
                rep[k] = f"SHAPE {a.shape} {b.shape}"
            elif b.dtype.kind == "i":
                rep[k] = "same" if np.array_equal(a, b) else f"DIFF {np.mean(a != b):.3f} first {np.argwhere(a != b)[0]}"
            else:
                m = np.isfinite(b)
                if not np.array_equal(np.isfinite(a), m):
                    rep[k] = "INF"
                    return
                e = float(np.abs(a[m].astype(F) - b[m]).max() / (np.abs(b[m]).max() + 1e-9)) if m.any() else 0.0
                worst[k] = max(worst.get(k, 0), e)
                rep[k] = e
        if row["kind"] in ("custom_voice", "voice_design", "base"):
            kw = dict(language=row.get("language"), speaker=row.get("speaker"), instruct=row.get("instruct"),
                      non_streaming=row["non_streaming_mode"])
            if row["kind"] == "base":
                kw["spk_emb"] = g["spk_emb"]
                if "ref_codes" in g:
                    kw.update(ref_codes=g["ref_codes"], ref_text=row["ref_text"])
            ids, emb, trail, pad = M.prompt(row["text"], **kw)
            cmp("input_ids", np.array(ids, np.int32))
            cmp("prefill_embeds", emb); cmp("trailing_text_hidden", trail); cmp("tts_pad_embed", pad)
            r = M.generate(emb, trail, pad, row["max_new_tokens"], row.get("repetition_penalty", row.get("generate_kwargs", {}).get("repetition_penalty", 1.05)))
            cmp("prefill_layers_last", r["layers"])
            cmp("tokens0", np.array(r["tokens0"], np.int32))
            cmp("codes", np.array(r["codes"], np.int32))
            for k in ("logits0", "hidden", "next_embeds"):
                cmp(k, np.stack(r[k]))
            cmp("scores0", np.stack(r["scores0"])[: len(g["scores0"])])
            for k in ("cp_logits_f0", "cp_inputs_f0"):
                cmp(k, r[k])
            codes = np.array(r["codes"])
            if "ref_codes" in g:
                full = np.concatenate([g["ref_codes"], codes])
                w = M.codec.decode(full)
                w = w[int(len(g["ref_codes"]) / max(len(full), 1) * len(w)):]
            else:
                w = M.codec.decode(codes)
            cmp("wav", w)
        elif row["kind"] == "codec_decode":
            un = M.codec.decode_pass(g["codes"], taps)
            cmp("wav_unchunked", un)
            cmp("wav", M.codec.decode(g["codes"]))
            for k in taps:
                if k in g:
                    cmp(k, taps[k])
        elif row["kind"] == "codec_encode":
            cmp("codes", M.codec.encode(g["input_values"], taps).astype(np.int32))
            for k in taps:
                if k in g:
                    cmp(k, taps[k])
        elif row["kind"] == "speaker":
            cmp("embedding", M.speaker(g["audio24k"], taps))
            cmp("mel_basis", mel_basis())
            for k in taps:
                if k in g:
                    cmp(k, taps[k])
        prob = {k: v for k, v in rep.items() if isinstance(v, str) and v != "same" or not isinstance(v, str) and v > 2e-3}
        bad += bool(prob)
        print(("OK   " if not prob else "FAIL ") + row["file"], prob or f"max rel {max([v for v in rep.values() if not isinstance(v, str)] or [0]):.1e}", flush=True)
    print("largest difference / largest magnitude:", {k: f"{v:.1e}" for k, v in worst.items()})
    if not only or only == "tok":
        tokdir = os.path.dirname(gd.rstrip("/")) + "/tokenizer"
        if os.path.isdir(tokdir):
            f = "full_qwen2" if len(M.tok.vocab) > 100000 else "small"
            rows = json.load(open(f"{tokdir}/{f}.json"))
            n = [r["text"] for r in rows if M.tok(r["text"]) != r["ids"] or M.tok(f"<|im_start|>assistant\n{r['text']}<|im_end|>\n<|im_start|>assistant\n") != r["wrapped_ids"]]
            print("tokenizer", f, len(rows) - len(n), "of", len(rows), "equal", n)
            bad += bool(n)
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
