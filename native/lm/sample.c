/* lm/sample.c - chooses a code from logits: repetition penalty, temperature, top-k, top-p, then a draw (lm/sample.h). */
#include "lm/sample.h"
#include "checkpoint/weights.h"
#include <math.h>

enum { LANES = 128 };

double q3t_draw(uint64_t seed, uint64_t key, uint32_t frame, uint32_t group) {
    uint32_t c[4] = {(uint32_t)key, (uint32_t)(key >> 32), frame, group}, k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int i = 0; i < 10; i++) {
        uint64_t a = 0xD2511F53u * (uint64_t)c[0], b = 0xCD9E8D57u * (uint64_t)c[2];
        uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k0, (uint32_t)b, (uint32_t)(a >> 32) ^ c[3] ^ k1, (uint32_t)a};
        memcpy(c, next, sizeof c);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    uint64_t bits = ((uint64_t)c[0] << 32 | c[1]) >> 11;
    return (double)bits * 0x1p-53;
}

void q3t_talker_scores(float *s, int32_t n, float penalty, const unsigned char *seen, int32_t eos, int32_t hold) {
    if (penalty != 1.0f)
        for (int32_t i = 0; i < n; i++)
            if (seen[i]) s[i] = s[i] < 0 ? s[i] * penalty : s[i] / penalty;
    float kept = hold ? -INFINITY : s[eos];
    for (int32_t i = n - Q3T_RESERVED; i < n; i++) s[i] = -INFINITY;
    s[eos] = kept;
}

/* Returns the k-th largest element, k >= 1, of x (n,) and reorders x: quickselect with the middle element as pivot. */
static float kth_largest(float *x, int32_t n, int32_t k) {
    int32_t lo = 0, hi = n - 1, want = k - 1;
    while (lo < hi) {
        float pivot = x[lo + (hi - lo) / 2];
        int32_t i = lo, j = hi;
        while (i <= j) {
            while (x[i] > pivot) i++;
            while (x[j] < pivot) j--;
            if (i <= j) {
                float t = x[i];
                x[i++] = x[j];
                x[j--] = t;
            }
        }
        if (want <= j) hi = j;
        else if (want >= i) lo = i;
        else break;
    }
    return x[want];
}

/* Returns the k-th largest of scores (n,). Score i belongs to lane i % LANES. The k-th largest of the maxima of the lanes is a
 * lower bound of the result, so only the few scores that reach this bound are searched. scratch: n floats. */
static float threshold(const float *scores, int32_t n, int32_t k, float *scratch) {
    if (k > LANES || n < 4 * LANES) {
        memcpy(scratch, scores, (size_t)n * sizeof(float));
        return kth_largest(scratch, n, k);
    }
    float lanes[LANES];
    memcpy(lanes, scores, sizeof lanes);
    int32_t i = LANES;
    for (; i + LANES <= n; i += LANES)
        for (int32_t j = 0; j < LANES; j++) lanes[j] = scores[i + j] > lanes[j] ? scores[i + j] : lanes[j];
    for (; i < n; i++) lanes[i % LANES] = scores[i] > lanes[i % LANES] ? scores[i] : lanes[i % LANES];
    float bound = kth_largest(lanes, LANES, k);
    int32_t m = 0;
    for (i = 0; i < n; i++)
        if (scores[i] >= bound) scratch[m++] = scores[i];
    return kth_largest(scratch, m, k);
}

typedef struct ranked {
    float score;
    int32_t index;
} ranked;

/* 1 if x comes before y: ascending by score, equal scores by index, which is the order of a stable sort. */
static int before(ranked x, ranked y) { return x.score != y.score ? x.score < y.score : x.index < y.index; }

/* Heapsort, ascending. qsort is not used, because it may allocate. */
static void sort(ranked *a, int32_t n) {
    for (int32_t start = n / 2, end = n; end > 1;) {
        if (start > 0) {
            start--;
        } else {
            end--;
            ranked t = a[end];
            a[end] = a[0];
            a[0] = t;
        }
        ranked v = a[start];
        int32_t root = start;
        for (int32_t child; (child = 2 * root + 1) < end; root = child) {
            if (child + 1 < end && before(a[child], a[child + 1])) child++;
            if (!before(v, a[child])) break;
            a[root] = a[child];
        }
        a[root] = v;
    }
}

/* order (m,): the indices of the candidates. Remove the least likely candidates whose cumulative probability is at most 1 - p; the
 * most likely candidate always stays. Returns how many stay. pair, prob: scratch (m,). Source: transformers TopPLogitsWarper. */
static int32_t top_p(const q3t_kernels *k, float p, const float *scores, int32_t *order, int32_t m, ranked *pair, float *prob) {
    for (int32_t i = 0; i < m; i++) pair[i] = (ranked){scores[order[i]], order[i]};
    sort(pair, m);
    for (int32_t i = 0; i < m; i++) prob[i] = pair[i].score;
    float sum = k->exp_sum(prob, prob, m, pair[m - 1].score, 1.0f), cumulated = 0;
    int32_t first = 0, kept = 0;
    for (; first < m - 1; first++) {
        cumulated += prob[first] / sum;
        if (cumulated > 1.0f - p) break;
    }
    ranked cut = pair[first];
    for (int32_t i = 0; i < m; i++)
        if (!before((ranked){scores[order[i]], order[i]}, cut)) order[kept++] = order[i];
    return kept;
}

int32_t q3t_choose(const q3t_kernels *k, const q3t_sampling *s, float *scores, int32_t n, double u, float *scratch, int32_t *order) {
    float max = k->max(scores, n);
    int32_t best = 0;
    while (scores[best] < max) best++;
    if (s->greedy || max == -INFINITY) return best;
    if (s->temperature != 1.0f) {
        max /= s->temperature;
        if (!isfinite(max)) return best; /* a temperature near 0: only the largest score is left */
        for (int32_t i = 0; i < n; i++) scores[i] /= s->temperature;
    }
    float low = s->top_k > 0 && s->top_k < n ? threshold(scores, n, s->top_k, scratch) : -INFINITY;
    int32_t m = 0;
    for (int32_t i = 0; i < n; i++)
        if (scores[i] >= low && scores[i] > -INFINITY) order[m++] = i;
    if (s->top_p < 1.0f) m = top_p(k, s->top_p, scores, order, m, (ranked *)(void *)scratch, scratch + 2 * (size_t)n);
    for (int32_t i = 0; i < m; i++) scratch[i] = scores[order[i]];
    double target = u * (double)k->exp_sum(scratch, scratch, m, max, 1.0f), cumulated = 0;
    for (int32_t i = 0; i < m; i++) {
        cumulated += (double)scratch[i];
        if (cumulated > target) return order[i];
    }
    return order[m - 1];
}
