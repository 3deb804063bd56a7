/* dsp/time_stretch.c - changes the speed of speech and keeps its pitch: overlap-add of similar waveforms (WSOLA).
 *
 *   input ──► window of input ──► hop k: continue hop k - 1, or fade to a similar place ──► output
 *
 * The output is made in hops of HOP samples. The target of hop k is the input sample k * HOP * speed. Hop k is the input that
 * continues hop k - 1, if it begins at most SEARCH samples from the target. Otherwise the output moves to another place: of all
 * places at most SEARCH samples from the target, the one whose HOP samples are most similar to the continuation. The
 * continuation is faded out over the hop, and the other place is faded in. Voiced speech is similar to itself at a distance of
 * one or several pitch periods, so each period keeps its length.
 *
 * Similarity is the normalized correlation of samples that are rounded to integers: the sums are exact, so that the chosen
 * place does not depend on the order of the additions, which differs between compilers.
 * Source: W. Verhelst, M. Roelands: An overlap-add technique based on waveform similarity (WSOLA), ICASSP 1993. */
#include "base/small.h"
#include "base/status.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    HOP = 360,           /* 15 ms: a period of 67 Hz */
    SEARCH = 300,        /* 12.5 ms in both directions: the places cover a period of 40 Hz */
    LEAST_MOVE = 48,     /* 2 ms, the period of 500 Hz: a shorter move would change the pitch instead of leaving out periods */
    REGION = 2 * SEARCH + HOP,
    PADDING = SEARCH + HOP + 4, /* the last target is at most 2 samples after the end */
    CAPACITY = 4096,     /* more than from the oldest sample that a hop may need to the newest: 4 HOP + 2 SEARCH */
    LEVELS = 1023        /* HOP * LEVELS^2 fits in int32_t */
};

struct q3t_stretch {
    double speed;
    int64_t received;    /* input samples, without the padding after the end */
    int64_t total;       /* output samples in all; -1 before the end of the input */
    int64_t base;        /* number of the sample in window[0] */
    int64_t next;        /* number of the input sample that continues the last hop */
    int64_t made, given; /* output samples computed, and handed to the caller */
    int32_t held;        /* samples in window */
    float rise[HOP];     /* weights of the place that is faded in */
    float hop[HOP];      /* the last hop */
    float window[CAPACITY];
};

q3t_status q3t_stretch_open(double speed, q3t_stretch **stretch) {
    if (!stretch || !(speed >= 0.25 && speed <= 4)) return Q3T_E_ARGUMENT;
    q3t_stretch *s = calloc(1, sizeof *s);
    if (!s) return Q3T_E_MEMORY;
    s->speed = speed;
    s->total = -1;
    for (int32_t i = 0; i < HOP; i++) {
        double t = (i + 0.5) / HOP;
        s->rise[i] = (float)(t * t * (3 - 2 * t));
    }
    *stretch = s;
    return Q3T_OK;
}

void q3t_stretch_close(q3t_stretch *s) { free(s); }

/* The input sample where the next hop should begin. */
static int64_t target(const q3t_stretch *s) { return (int64_t)((double)s->made * s->speed); }

static int continues(const q3t_stretch *s) { return q3t_in_range(s->next - target(s), -SEARCH, SEARCH); }

/* The highest magnitude of n samples. */
static float peak_of(const float *x, int32_t n) {
    float peak = 0;
    for (int32_t i = 0; i < n; i++) peak = fabsf(x[i]) > peak ? fabsf(x[i]) : peak;
    return peak;
}

static void round_to_levels(const float *x, int32_t n, float scale, int16_t *out) {
    for (int32_t i = 0; i < n; i++) out[i] = (int16_t)(x[i] * scale);
}

static int32_t dot(const int16_t *a, const int16_t *b) {
    int32_t sum = 0;
    for (int32_t i = 0; i < HOP; i++) sum += (int32_t)a[i] * b[i];
    return sum;
}

/* Of the places 0 .. count - 1, except those closer than LEAST_MOVE to `from`, return the one whose HOP samples in `region` are
 * most similar to `wanted`. *similarity: out, their normalized correlation. */
static int32_t most_similar(const int16_t *wanted, const int16_t *region, int32_t count, int64_t from, float *similarity) {
    int32_t energy = dot(region, region), best = 0;
    const int32_t wanted_energy = dot(wanted, wanted);
    double best_score = -DBL_MAX, best_cosine = 0;
    for (int32_t i = 0; i < count; i++) {
        if (!q3t_in_range(i - from, 1 - LEAST_MOVE, LEAST_MOVE - 1)) {
            double product = dot(wanted, region + i);
            double score = energy ? product * fabs(product) / energy : 0;
            if (score > best_score) {
                best = i;
                best_score = score;
                best_cosine = energy && wanted_energy ? product / sqrt((double)energy * wanted_energy) : 0;
            }
        }
        if (i + 1 < count) energy += (int32_t)region[i + HOP] * region[i + HOP] - (int32_t)region[i] * region[i];
    }
    *similarity = (float)best_cosine;
    return best;
}

/* Fade from the continuation `from` to the place `to`. Where they are not similar, as in noise, a plain fade would be softer in its
 * middle: the sum is divided by the level that two signals of this similarity have. */
static void fade(const q3t_stretch *s, const float *from, const float *to, float similarity, float *out) {
    const float common = similarity > 0 ? similarity : 0;
    for (int32_t i = 0; i < HOP; i++) {
        float in = s->rise[i], rest = 1 - in;
        out[i] = (rest * from[i] + in * to[i]) / sqrtf(in * in + rest * rest + 2 * common * in * rest);
    }
}

static void move(q3t_stretch *s) {
    int16_t wanted[HOP], region[REGION];
    const int64_t middle = target(s), first = middle < SEARCH ? 0 : middle - SEARCH;
    const int32_t count = (int32_t)(middle + SEARCH + 1 - first);
    const float *from = s->window + (s->next - s->base), *places = s->window + (first - s->base);
    float peak = fmaxf(peak_of(from, HOP), peak_of(places, count - 1 + HOP)), similarity = 0;
    int32_t chosen = (int32_t)(middle - first);
    if (peak > 1e-9f) { /* otherwise silence, where all places are the same */
        round_to_levels(from, HOP, LEVELS / peak, wanted);
        round_to_levels(places, count - 1 + HOP, LEVELS / peak, region);
        chosen = most_similar(wanted, region, count, s->next - first, &similarity);
    }
    fade(s, from, places + chosen, similarity, s->hop);
    s->next = first + chosen + HOP;
}

/* Make the next hop, if the window holds all samples that it needs. Returns whether it was made. */
static int make_hop(q3t_stretch *s) {
    const int64_t end = s->base + s->held, last = target(s) + SEARCH;
    const int stays = continues(s);
    if (end < s->next + HOP || (!stays && end < last + HOP)) return 0;
    if (stays) {
        memcpy(s->hop, s->window + (s->next - s->base), sizeof s->hop);
        s->next += HOP;
    } else {
        move(s);
    }
    s->made += HOP;
    return 1;
}

/* Remove the samples from the window that no later hop needs. */
static void forget(q3t_stretch *s) {
    const int64_t early = target(s) - SEARCH, first = early < s->next ? early : s->next, old = first - s->base;
    if (old <= 0) return;
    const int32_t n = old < s->held ? (int32_t)old : s->held;
    s->held -= n;
    s->base += n;
    memmove(s->window, s->window + n, (size_t)s->held * sizeof *s->window);
}

/* Append up to n samples, and return how many. */
static int32_t append(q3t_stretch *s, const float *samples, int32_t n) {
    forget(s);
    n = q3t_min(n, CAPACITY - s->held);
    for (int32_t i = 0; i < n; i++) s->window[s->held + i] = isfinite(samples[i]) ? samples[i] : 0;
    s->held += n;
    return n;
}

/* Append what the hops up to the last one need after the end of the input: its last samples, mirrored. Zeros would end a loud
 * signal with a click. */
static void pad(q3t_stretch *s) {
    forget(s);
    const int32_t real = s->held;
    for (int32_t i = 0; i < PADDING; i++) {
        int32_t at = i % (2 * real);
        s->window[real + i] = s->window[at < real ? real - 1 - at : at - real];
    }
    s->held += PADDING;
}

/* Copy output that is due, at most `capacity` samples. Before the end of the input that is never more than received / speed. */
static int32_t give(q3t_stretch *s, float *out, int32_t capacity) {
    const int64_t due = s->total >= 0 ? s->total : (int64_t)((double)s->received / s->speed);
    const int64_t waiting = (due < s->made ? due : s->made) - s->given;
    const int32_t n = waiting < capacity ? (int32_t)waiting : capacity;
    memcpy(out, s->hop + (HOP - (s->made - s->given)), (size_t)n * sizeof *out);
    s->given += n;
    return n;
}

q3t_status q3t_stretch_run(q3t_stretch *s, const float *samples, int32_t n, int32_t *used, float *out, int32_t capacity,
                           int32_t *count) {
    if (!s || n < 0 || (n > 0 && !samples) || !used || capacity < 1 || !out || !count || s->total >= 0) return Q3T_E_ARGUMENT;
    *used = *count = 0;
    for (;;) {
        *count += give(s, out + *count, capacity - *count);
        if (*count == capacity) return Q3T_OK;
        if (s->given == s->made && make_hop(s)) continue;
        if (*used == n) return Q3T_OK;
        int32_t taken = append(s, samples + *used, n - *used);
        *used += taken;
        s->received += taken;
    }
}

q3t_status q3t_stretch_finish(q3t_stretch *s, float *out, int32_t capacity, int32_t *count) {
    if (!s || capacity < 1 || !out || !count) return Q3T_E_ARGUMENT;
    if (s->total < 0) s->total = (int64_t)((double)s->received / s->speed + 0.5);
    *count = 0;
    for (;;) {
        *count += give(s, out + *count, capacity - *count);
        if (*count == capacity || s->given == s->total) return Q3T_OK;
        if (!make_hop(s)) pad(s);
    }
}
