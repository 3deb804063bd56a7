/* check_codec.c - compares the streaming decoder of the codec with goldens, and with itself under other conditions.
 *
 *   check_codec [--mask N] [DUMP ...]            check the goldens that dump_codec.py wrote to each DUMP, then synthetic codecs of
 *                                                unusual shapes
 *   check_codec --bench [--mask N] [THREADS ...] print milliseconds for each frame, at the size of the released checkpoints, for
 *                                                each number of threads
 * N: bits of q3t_cpu, the instruction sets that may be used.
 *
 * The samples must have the same bits for any chunks, any number of threads and any other streams in the same calls. They are
 * compared with a golden by their signal-to-noise ratio. */
#define _POSIX_C_SOURCE 200809L
#include "codec_subject.h"
#include <pthread.h>
#include <time.h>

static int failures;
static q3t_kernels kernels;

static void expect(int ok, const char *what, const char *of) {
    if (ok) return;
    failures++;
    printf("FAIL %s: %s\n", of, what);
}

/* ------------------------------------------------------------ runs */
static q3t_codec *open_codec(const subject *s, q3t_pool *pool) {
    q3t_codec *c = NULL;
    expect(q3t_codec_open(&s->config, &s->weights, NULL, &kernels, pool, &c) == Q3T_OK, "opens", "codec");
    if (!c) exit(1);
    return c;
}

static q3t_pool *open_pool(int32_t threads) {
    q3t_pool *pool = NULL;
    if (threads && q3t_pool_open(threads, &pool) != Q3T_OK) exit(2);
    return pool;
}

static q3t_codec_work *open_work(const q3t_codec *c, int32_t frames) {
    q3t_codec_work *work = NULL;
    if (q3t_codec_work_open(c, frames, &work) != Q3T_OK) exit(2);
    return work;
}

static q3t_codec_state *open_state(const q3t_codec *c) {
    q3t_codec_state *state = NULL;
    if (q3t_codec_state_open(c, &state) != Q3T_OK) exit(2);
    return state;
}

static q3t_status run(const q3t_codec *c, q3t_codec_work *work, q3t_codec_state *state, q3t_pool *pool, const int32_t *codes, int32_t frames,
                      float *samples) {
    q3t_codec_call call = {.state = state, .codes = codes, .frames = frames, .samples = samples};
    q3t_codec_run(c, work, pool, &call, 1);
    return call.status;
}

/* Decode codes (frames, groups) in chunks of `chunk` frames; if `chunk` is 0, of 1, 5, 2, 7, 1, ... frames. Returns the samples,
 * which the caller frees. */
static float *decode(const q3t_codec *c, const subject *s, q3t_pool *pool, const int32_t *codes, int32_t chunk, q3t_status *status) {
    static const int32_t mixed[] = {1, 5, 2, 7, 1, 12, 3};
    int32_t frame = q3t_frame_samples(&s->config), n;
    float *out = get((size_t)s->samples * sizeof *out);
    q3t_codec_state *state = open_state(c);
    q3t_codec_work *work = open_work(c, chunk > 3 ? Q3T_CODEC_BATCH_FRAMES : 3);
    *status = Q3T_OK;
    for (int32_t at = 0, i = 0; at < s->frames && *status == Q3T_OK; at += n, i++) {
        n = chunk ? chunk : mixed[i % 7];
        if (n > s->frames - at) n = s->frames - at;
        *status = run(c, work, state, pool, codes + (size_t)at * (size_t)s->config.code_groups, n, out + (size_t)at * (size_t)frame);
    }
    q3t_codec_work_close(work);
    q3t_codec_state_close(state);
    return out;
}

static void same(const q3t_codec *c, const subject *s, q3t_pool *pool, int32_t chunk, const float *expected, const char *what,
                 const char *of) {
    q3t_status status;
    float *got = decode(c, s, pool, s->codes, chunk, &status);
    expect(status == Q3T_OK, "decodes", of);
    expect(!memcmp(got, expected, (size_t)s->samples * sizeof *got), what, of);
    free(got);
}

static double snr_db(const float *got, const float *expected, int32_t n) {
    double signal = 0, noise = 0;
    for (int32_t i = 0; i < n; i++) {
        signal += (double)expected[i] * expected[i];
        noise += ((double)got[i] - expected[i]) * ((double)got[i] - expected[i]);
    }
    return noise > 0 ? 10 * log10(signal / noise) : 999;
}

/* ------------------------------------------------------------ checks */
typedef struct stream {
    const q3t_codec *codec;
    const subject *subject;
    const int32_t *codes;
    float *out;
    q3t_status status;
} stream;

static void *stream_main(void *arg) {
    stream *s = arg;
    s->out = decode(s->codec, s->subject, NULL, s->codes, 3, &s->status);
    return NULL;
}

/* Decode two streams of one codec at the same time on two threads, then alternately on one thread. `alone` in this and the next
 * functions: the samples of s->codes decoded without other streams; `of`: what is checked, for messages. */
static void check_neighbours(const q3t_codec *c, const subject *s, const float *alone, const char *of) {
    int32_t groups = s->config.code_groups, frame = q3t_frame_samples(&s->config);
    size_t row = (size_t)groups * sizeof(int32_t);
    int32_t *other = get((size_t)s->frames * row);
    for (int32_t i = 0; i < s->frames; i++) memcpy(other + i * groups, s->codes + (s->frames - 1 - i) * groups, row);
    stream a = {.codec = c, .subject = s, .codes = s->codes}, b = {.codec = c, .subject = s, .codes = other};
    pthread_t thread;
    if (pthread_create(&thread, NULL, stream_main, &b)) exit(2);
    stream_main(&a);
    pthread_join(thread, NULL);
    expect(!memcmp(a.out, alone, (size_t)s->samples * 4), "a stream while another thread decodes", of);
    q3t_codec_state *one = open_state(c), *two = open_state(c);
    q3t_codec_work *work = open_work(c, 1);
    float *first = get((size_t)frame * 4), *second = get((size_t)frame * 4);
    int32_t bad = 0;
    for (int32_t i = 0; i < s->frames; i++) {
        bad += run(c, work, one, NULL, s->codes + i * groups, 1, first) != Q3T_OK;
        bad += run(c, work, two, NULL, other + i * groups, 1, second) != Q3T_OK;
        bad += !!memcmp(first, a.out + i * frame, (size_t)frame * 4) + !!memcmp(second, b.out + i * frame, (size_t)frame * 4);
    }
    expect(!bad, "two alternating streams", of);
    q3t_codec_state_close(one);
    q3t_codec_state_close(two);
    q3t_codec_work_close(work);
    free(first), free(second), free(a.out), free(b.out), free(other);
}

/* A NaN in the weights of any of `slots` must give Q3T_E_CODEC_NONFINITE. */
static void check_nonfinite(const subject *all, const char *of) {
    static const int32_t slots[] = {Q3T_W_DEC_OUT_BIAS, Q3T_W_CODEC_Q, Q3T_W_UP_DW, Q3T_W_UNIT_ALPHA2, Q3T_W_FIRST_PROJ, Q3T_W_BLOCK_CONV,
                                    Q3T_W_CODEC_NORM};
    subject few = *all, *s = &few;
    if (s->frames > 3) s->frames = 3;
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        q3t_tensor *t = (q3t_tensor *)(uintptr_t)s->weights.slot[slots[i]];
        if ((slots[i] == Q3T_W_UP_DW && !s->config.upsampling) || t->dtype != Q3T_F32) continue;
        float *data = (float *)(uintptr_t)t->data, original = *data;
        *data = NAN;
        q3t_codec *c = open_codec(s, NULL);
        q3t_status status;
        free(decode(c, s, NULL, s->codes, 2, &status));
        expect(status == Q3T_E_CODEC_NONFINITE, "NaN in a weight is reported", of);
        q3t_codec_close(c);
        *data = original;
    }
}

/* From q3t_codec_reach frames after the last skipped frame on, the samples are the same as without skipping. */
static void check_skip(const q3t_codec *c, const subject *s, q3t_pool *pool, const float *alone, const char *of) {
    int32_t groups = s->config.code_groups, frame = q3t_frame_samples(&s->config), reach = q3t_codec_reach(c), skipped = 11, bad = 0;
    expect(reach > 0, "reach", of);
    if (skipped + reach >= s->frames) return;
    float *out = get((size_t)frame * sizeof *out);
    q3t_codec_state *state = open_state(c);
    q3t_codec_work *work = open_work(c, Q3T_CODEC_STREAM_FRAMES);
    q3t_codec_call call = {.state = state, .codes = s->codes, .frames = skipped};
    q3t_codec_skip(c, work, pool, &call);
    expect(call.done == skipped, "skips", of);
    for (int32_t i = skipped; i < s->frames; i++) {
        bad += run(c, work, state, pool, s->codes + i * groups, 1, out) != Q3T_OK;
        bad += i >= skipped + reach && memcmp(out, alone + i * frame, (size_t)frame * sizeof *out);
    }
    expect(!bad, "same bits after skipped frames", of);
    q3t_codec_state_close(state);
    q3t_codec_work_close(work);
    free(out);
}

/* Decode streams that begin at different frames in the same calls, in chunks of different lengths, with scratch for `frames`
 * frames; stream 3 joins after the first call. Each stream must have the samples that it has when it is decoded alone. */
static void check_together(const q3t_codec *c, const subject *s, q3t_pool *pool, const float *alone, int32_t frames, const char *of) {
    enum { STREAMS = 5 };
    static const int32_t steps[STREAMS] = {3, 1, 4, 9, 2}, from[STREAMS] = {0, 0, 2, 0, 1};
    int32_t groups = s->config.code_groups, frame = q3t_frame_samples(&s->config), done[STREAMS] = {0}, bad = 0;
    q3t_codec_work *work = open_work(c, frames);
    q3t_codec_state *state[STREAMS];
    float *out[STREAMS], *other[STREAMS];
    q3t_status status;
    for (int32_t i = 0; i < STREAMS; i++) {
        subject rest = *s;
        rest.frames -= from[i], rest.samples -= from[i] * frame;
        state[i] = open_state(c);
        out[i] = get((size_t)s->samples * sizeof **out);
        other[i] = from[i] ? decode(c, &rest, pool, s->codes + from[i] * groups, 3, &status) : NULL;
    }
    for (int32_t round = 0, left = 1; left; round++) {
        q3t_codec_call calls[STREAMS];
        int32_t n = 0, at[STREAMS];
        for (int32_t i = 0; i < STREAMS; i++) {
            int32_t rest = s->frames - from[i] - done[i], some = rest < steps[(i + round) % STREAMS] ? rest : steps[(i + round) % STREAMS];
            if (some == 0 || (i == 3 && round == 0)) continue;
            at[n] = i;
            calls[n++] = (q3t_codec_call){.state = state[i], .codes = s->codes + (from[i] + done[i]) * groups, .frames = some,
                                          .samples = out[i] + done[i] * frame};
        }
        q3t_codec_run(c, work, pool, calls, n);
        left = n > 0;
        for (int32_t i = 0; i < n; i++) bad += calls[i].status != Q3T_OK || calls[i].done != calls[i].frames, done[at[i]] += calls[i].frames;
    }
    for (int32_t i = 0; i < STREAMS; i++) {
        bad += !!memcmp(out[i], from[i] ? other[i] : alone, (size_t)(s->frames - from[i]) * (size_t)frame * sizeof **out);
        q3t_codec_state_close(state[i]);
        free(out[i]), free(other[i]);
    }
    expect(!bad, "same bits with other streams in the calls", of);
    q3t_codec_work_close(work);
}

/* Allocate *block, which the caller frees. Returns `bytes` bytes in it, which begin `at` * 64 bytes after its first 64-byte
 * boundary. */
static void *aligned(size_t bytes, size_t at, void **block) {
    *block = get(bytes + 64 * (at + 2));
    return (char *)*block + 64 * at + 63 - ((uintptr_t)*block + 63) % 64;
}

/* Packed weights have the same bytes for any number of threads, and a codec opens them at any 64-byte boundary. */
static void check_packed(const subject *s, const float *alone, const char *of) {
    size_t bytes = 0;
    void *one_block, *other_block;
    expect(q3t_pack_codec_bytes(&s->config, &bytes) == Q3T_OK && bytes > 0 && bytes % 64 == 0, "bytes of the packed weights", of);
    void *one = aligned(bytes, 0, &one_block), *other = aligned(bytes, 3, &other_block);
    memset(one, 0, bytes), memset(other, 0, bytes);
    expect(q3t_pack_codec(&s->config, s->tensors, (size_t)s->count, 1, one) == Q3T_OK, "packs", of);
    expect(q3t_pack_codec(&s->config, s->tensors, (size_t)s->count, 3, other) == Q3T_OK, "packs", of);
    expect(!memcmp(one, other, bytes), "same packed bytes for any threads", of);
    memset(one, 255, bytes);
    q3t_codec *c = NULL;
    expect(q3t_codec_open(&s->config, NULL, (char *)other + 4, &kernels, NULL, &c) == Q3T_E_ARGUMENT, "alignment is checked", of);
    expect(q3t_codec_open(&s->config, NULL, NULL, &kernels, NULL, &c) == Q3T_E_ARGUMENT, "no weights are refused", of);
    expect(q3t_codec_open(&s->config, NULL, other, &kernels, NULL, &c) == Q3T_OK, "opens packed weights", of);
    if (c) same(c, s, NULL, 3, alone, "same bits from packed weights", of);
    q3t_codec_close(c);
    free(one_block), free(other_block);
}

static void check(const subject *s, const char *of) {
    static const int32_t chunks[] = {1, 2, 3, 7, 0};
    int before = failures;
    q3t_status status;
    q3t_codec *c = open_codec(s, NULL);
    q3t_codec_work *work = NULL;
    expect(q3t_codec_work_open(c, 0, &work) == Q3T_E_ARGUMENT, "work on no frames is refused", of);
    expect(q3t_codec_work_open(c, Q3T_CODEC_BATCH_FRAMES + 1, &work) == Q3T_E_ARGUMENT, "work on too many is refused", of);
    float *alone = decode(c, s, NULL, s->codes, Q3T_CODEC_MAX_CHUNK, &status);
    expect(status == Q3T_OK, "decodes", of);
    double db = s->expected ? snr_db(alone, s->expected, s->samples) : 999, level = 0;
    for (int32_t i = 0; i < s->samples; i++) level += (double)alone[i] * alone[i] / s->samples;
    if (s->expected) expect(db >= s->least_db, "agrees with the golden", of);
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) same(c, s, NULL, chunks[i], alone, "same bits for any chunks", of);
    for (int32_t threads = 1; threads <= 3; threads++) {
        q3t_pool *pool = open_pool(threads);
        q3t_codec *packed = open_codec(s, pool);
        same(packed, s, pool, 1, alone, "same bits for any threads", of);
        same(packed, s, pool, Q3T_CODEC_MAX_CHUNK, alone, "same bits for any threads", of);
        same(c, s, pool, 0, alone, "same bits for any threads", of);
        check_skip(c, s, pool, alone, of);
        check_together(c, s, pool, alone, threads == 1 ? Q3T_CODEC_BATCH_FRAMES : 5 * threads, of);
        q3t_codec_close(packed);
        q3t_pool_close(pool);
    }
    check_neighbours(c, s, alone, of);
    check_packed(s, alone, of);
    check_nonfinite(s, of);
    printf("%s %s: %d frames, ", failures > before ? "FAIL" : "ok  ", of, s->frames);
    if (s->expected) printf("%.1f dB (at least %.0f)\n", db, s->least_db);
    else printf("rms %.3f\n", sqrt(level));
    free(alone);
    q3t_codec_close(c);
}

/* ------------------------------------------------------------ synthetic configs */
static q3t_config config_of(q3t_transformer_config t, int32_t groups, int32_t book, int32_t dim, int32_t latent, int32_t decoder,
                            int32_t window) {
    return (q3t_config){.codec = t, .code_groups = groups, .codebook_size = book, .codebook_dim = dim, .latent_dim = latent,
                        .decoder_dim = decoder, .sliding_window = window};
}

static void check_synthetic(void) {
    q3t_config plain = config_of((q3t_transformer_config){40, 56, 2, 6, 2, 20, 1e-5f, 1e4}, 5, 19, 36, 44, 96, 9);
    plain.upsampling = 2, plain.upsampling_ratios[0] = 3, plain.upsampling_ratios[1] = 1;
    plain.rates = 3, plain.upsample_rates[0] = 7, plain.upsample_rates[1] = 1, plain.upsample_rates[2] = 3;
    q3t_config bare = config_of((q3t_transformer_config){24, 33, 1, 3, 1, 6, 1e-6f, 5e5}, 2, 7, 10, 20, 70, 1);
    bare.rates = 1, bare.upsample_rates[0] = 64;
    q3t_config deep = config_of((q3t_transformer_config){16, 16, 3, 2, 2, 8, 1e-5f, 1e4}, 3, 11, 16, 16, 512, 40);
    deep.upsampling = 1, deep.upsampling_ratios[0] = 2, deep.rates = 8;
    for (int32_t i = 0; i < 8; i++) deep.upsample_rates[i] = i % 3 ? 1 : 3;
    q3t_config wide = config_of((q3t_transformer_config){64, 96, 1, 4, 4, 16, 1e-5f, 1e4}, 16, 64, 64, 192, 512, 72);
    wide.upsampling = 2, wide.upsampling_ratios[0] = wide.upsampling_ratios[1] = 2;
    wide.rates = 2, wide.upsample_rates[0] = 8, wide.upsample_rates[1] = 10;
    const struct { const q3t_config *config; int32_t type, frames; const char *name; } all[] = {
        {&plain, Q3T_F32, 100, "grouped heads, odd widths"}, {&plain, Q3T_BF16, 13, "bf16 weights"},
        {&bare, Q3T_F32, 37, "one block, window 1"}, {&deep, Q3T_F32, 30, "eight blocks"},
        {&wide, Q3T_F32, 10, "weights larger than a cache"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        subject *s = synthetic(all[i].config, all[i].type, all[i].frames);
        check(s, all[i].name);
        drop(s);
    }
}

/* ------------------------------------------------------------ bench */
static double seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Multiply-adds of one frame in the matrices and convolutions. */
static double frame_macs(const q3t_config *c) {
    double l = c->latent_dim, t = c->codec.hidden, rows = 1, d = c->decoder_dim;
    double sum = (double)c->codebook_dim * (c->codebook_dim + 3 * l) + 2 * l * t;
    sum += c->codec.layers * t * (2.0 * c->codec.head_dim * (c->codec.heads + c->codec.kv_heads) + 3.0 * c->codec.intermediate);
    for (int32_t i = 0; i < c->upsampling; i++) {
        sum += rows * l * l * c->upsampling_ratios[i];
        sum += (rows *= c->upsampling_ratios[i]) * 8 * l * l;
    }
    sum += rows * 7 * l * d;
    for (int32_t i = 0; i < c->rates; i++, d /= 2) {
        sum += rows * d * d * c->upsample_rates[i];
        sum += (rows *= c->upsample_rates[i]) * 3 * 8 * d * d / 4;
    }
    return sum + rows * 7 * d;
}

static void bench(const q3t_codec *c, const subject *s, int32_t threads, int32_t chunk, int32_t streams) {
    enum { RUNS = 15, MOST = 8 };
    double wall[RUNS], cpu[RUNS];  /* other processes lengthen the wall time only; waiting threads lengthen the CPU time */
    q3t_pool *pool = open_pool(threads);
    q3t_codec_work *work = open_work(c, Q3T_CODEC_BATCH_FRAMES);
    q3t_codec_call calls[MOST];
    for (int32_t i = 0; i < streams; i++)
        calls[i] = (q3t_codec_call){.state = open_state(c), .codes = s->codes, .frames = chunk,
                                    .samples = get((size_t)chunk * (size_t)q3t_frame_samples(&s->config) * 4)};
    for (int32_t i = -2; i < RUNS; i++) {
        double from = seconds(CLOCK_MONOTONIC), used = seconds(CLOCK_PROCESS_CPUTIME_ID);
        q3t_codec_run(c, work, pool, calls, streams);
        if (i < 0) continue;
        wall[i] = (seconds(CLOCK_MONOTONIC) - from) / chunk / streams;
        cpu[i] = (seconds(CLOCK_PROCESS_CPUTIME_ID) - used) / chunk / streams;
    }
    qsort(wall, RUNS, sizeof *wall, by_value);
    qsort(cpu, RUNS, sizeof *cpu, by_value);
    printf("%2d threads, %d streams, chunks of %2d: %6.2f ms a frame (best %.2f; processor time %.2f, best %.2f), %.0f GFLOP/s\n", threads,
           streams, chunk, 1e3 * wall[RUNS / 2], 1e3 * wall[0], 1e3 * cpu[RUNS / 2], 1e3 * cpu[0],
           2e-9 * frame_macs(&s->config) / wall[RUNS / 2]);
    for (int32_t i = 0; i < streams; i++) {
        free(calls[i].samples);
        q3t_codec_state_close(calls[i].state);
    }
    q3t_codec_work_close(work);
    q3t_pool_close(pool);
}

static void bench_all(char **threads, int n) {
    q3t_config c = config_of((q3t_transformer_config){512, 1024, 8, 16, 16, 64, 1e-5f, 1e4}, 16, 2048, 512, 1024, 1536, 72);
    c.upsampling = 2, c.upsampling_ratios[0] = c.upsampling_ratios[1] = 2;
    c.rates = 4, c.upsample_rates[0] = 8, c.upsample_rates[1] = 5, c.upsample_rates[2] = 4, c.upsample_rates[3] = 3;
    subject *s = synthetic(&c, Q3T_F32, 8);
    for (int i = 0; i < n; i++) {
        int32_t count = atoi(threads[i]);
        q3t_pool *pool = open_pool(count);
        size_t bytes = 0;
        double from = seconds(CLOCK_MONOTONIC);
        expect(q3t_codec_packed_bytes(&c, &bytes) == Q3T_OK, "measures", "codec");
        q3t_codec *codec = open_codec(s, pool);
        printf("%2d threads, opening: %.0f ms, %.0f MB; %.2f GFLOP a frame\n", count, 1e3 * (seconds(CLOCK_MONOTONIC) - from),
               1e-6 * (double)bytes, 2e-9 * frame_macs(&c));
        q3t_pool_close(pool);
        for (int32_t chunk = 1; chunk <= 8; chunk *= 2)
            for (int32_t streams = 1; streams <= 8; streams *= 8) bench(codec, s, count, chunk, streams);
        q3t_codec_close(codec);
    }
    drop(s);
}

int main(int argc, char **argv) {
    static char *both[] = {"1", "2"};
    uint32_t mask = Q3T_CPU_ALL;
    int benches = argc > 1 && !strcmp(argv[1], "--bench");
    argc -= 1 + benches, argv += 1 + benches;
    if (argc > 1 && !strcmp(argv[0], "--mask")) mask = (uint32_t)strtoul(argv[1], NULL, 0), argc -= 2, argv += 2;
    q3t_kernels_init(&kernels, mask & q3t_cpu_flags());
    if (benches) {
        bench_all(argc ? argv : both, argc ? argc : 2);
        return 0;
    }
    for (int i = 0; i < argc; i++) {
        subject *s = get(sizeof *s);
        read_dump(argv[i], s);
        check(s, argv[i]);
        drop(s);
    }
    check_synthetic();
    printf("%d failures\n", failures);
    return failures > 0;
}
