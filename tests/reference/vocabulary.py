"""The text vocabulary of the released models, from qwen.tiktoken of the wheel `dashscope`. Needs nothing but Python."""
import base64

N_BPE_FULL = 151643


def bytes_to_unicode():
    bs = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    cs, n = bs[:], 0
    for b in range(256):
        if b not in bs:
            bs.append(b)
            cs.append(256 + n)
            n += 1
    return dict(zip(bs, map(chr, cs)))


def load_tiktoken(path):
    ranks = {}
    for line in open(path, "rb"):
        tok, r = line.split()
        ranks[base64.b64decode(tok)] = int(r)
    return ranks


def split_merge(ranks, token, limit):
    """The pair of parts that BPE (with ranks below `limit`) leaves of `token`."""
    parts = [token[i:i + 1] for i in range(len(token))]
    while len(parts) > 2:
        best, bi = None, -1
        for i in range(len(parts) - 1):
            r = ranks.get(parts[i] + parts[i + 1])
            if r is not None and r < limit and (best is None or r < best):
                best, bi = r, i
        if best is None:
            raise ValueError(token)
        parts[bi:bi + 2] = [parts[bi] + parts[bi + 1]]
    return parts


def full_vocab(tiktoken_path):
    """vocab.json dict and merges list (strings of the GPT-2 byte alphabet), from the tiktoken ranks."""
    ranks = load_tiktoken(tiktoken_path)
    m = bytes_to_unicode()
    u = lambda b: "".join(m[x] for x in b)
    vocab = {u(b): r for b, r in ranks.items()}
    merges = []
    for b, r in sorted(ranks.items(), key=lambda kv: kv[1]):
        if len(b) > 1:
            x, y = split_merge(ranks, b, r)
            merges.append((u(x), u(y)))
    assert len(vocab) == N_BPE_FULL and len(merges) == N_BPE_FULL - 256
    return vocab, merges
