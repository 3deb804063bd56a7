/* check_session.c - checks that whole sessions of a tiny model give the codes and samples of the reference on every instruction set
 * of this machine, and the same bytes for any number of threads, any chunk and batch, with and without a decoder thread, and for
 * any state of the prefix cache.
 *
 *   check_session [--expect ISA] DUMP      ISA: the instruction set whose linear_bf16 must have been chosen */
#include "dump.h"
#include <math.h>

static int failures;

static void expect(int ok, const char *what, const char *detail) {
    if (ok) return;
    failures++;
    printf("  FAIL %s: %s\n", what, detail);
}

/* The conditions of a session. */
typedef struct how {
    int32_t chunk, pipeline, sampled;
    uint64_t seed;
} how;

/* The output of a session. */
typedef struct output {
    int32_t frames, samples, cached_rows, state;
    int32_t *codes;
    float *wav;
} output;

static q3t_session_params params(const dump_case *c, how h) {
    q3t_sampling greedy = {1, 1, 0, 1, c->repetition_penalty}, sampled = {0, 0.9f, 20, 0.95f, c->repetition_penalty};
    return (q3t_session_params){
        .rows = c->rows, .text_ids = c->text_ids, .codec_ids = c->codec_ids, .prefix_rows = c->prefix_rows,
        .trailing = c->trailing, .trailing_ids = c->trailing_ids, .talker = h.sampled ? sampled : greedy,
        .predictor = h.sampled ? sampled : greedy, .seed = h.seed, .key = 77, .max_frames = c->max_frames,
        .chunk_frames = h.chunk, .pipeline = h.pipeline,
    };
}

static q3t_model *open_model(const dump *d, uint32_t mask, int32_t threads) {
    q3t_model_options options = {.cpu_mask = mask, .threads = threads};
    q3t_model *m = NULL;
    q3t_status status = q3t_model_open(&d->config, d->tensors, (size_t)d->tensor_count, &options, &m);
    if (status != Q3T_OK) {
        printf("q3t_model_open: %s\n", q3t_status_text(status));
        exit(1);
    }
    return m;
}

/* Read all decoded samples. wait: 1 to wait until there are samples or the session has ended. room: length of out->wav. */
static void drain(q3t_session *s, output *out, int32_t room, int wait) {
    for (int32_t n = 1; n > 0;) {
        q3t_session_read(s, out->wav + out->samples, room - out->samples, wait, &n);
        out->samples += n;
    }
}

/* Step n sessions in one batch until all have ended and all samples are read. room[i]: samples that out[i].wav can take. */
static void run(q3t_model *m, q3t_session **s, output *out, const int32_t *room, int32_t n) {
    for (int done = 0; !done;) {
        int32_t status[8];
        expect(q3t_step(m, s, n, INT32_MAX, 0, status) == Q3T_OK, "step", "call");
        done = 1;
        for (int32_t i = 0; i < n; i++) {
            expect(status[i] == Q3T_OK, "step", q3t_status_text((q3t_status)status[i]));
            q3t_session_info info;
            q3t_session_info_get(s[i], &info);
            drain(s[i], &out[i], room[i], info.state != Q3T_RUNNING);
            q3t_session_info_get(s[i], &info);
            done &= status[i] != Q3T_OK || (info.state != Q3T_RUNNING && info.decoded == info.frames);
        }
    }
    for (int32_t i = 0; i < n; i++) {
        q3t_session_info info;
        drain(s[i], &out[i], room[i], 1);
        q3t_session_info_get(s[i], &info);
        out[i].frames = info.frames;
        out[i].cached_rows = info.cached_rows;
        out[i].state = (int32_t)info.state;
        q3t_session_codes(s[i], 0, info.frames, out[i].codes);
    }
}

/* Generate n cases in one batch. */
static void generate(q3t_model *m, const dump *d, const dump_case *const *cases, const how *h, int32_t n, output *out) {
    q3t_session *s[8] = {0};
    int32_t room[8];
    int32_t per_frame = 1;
    for (int32_t i = 0; i < d->config.upsampling; i++) per_frame *= d->config.upsampling_ratios[i];
    for (int32_t i = 0; i < d->config.rates; i++) per_frame *= d->config.upsample_rates[i];
    for (int32_t i = 0; i < n; i++) {
        q3t_session_params p = params(cases[i], h[i]);
        q3t_status status = q3t_session_open(m, &p, &s[i]);
        expect(status == Q3T_OK, "session open", q3t_status_text(status));
        expect(q3t_session_reserve(s[i], INT32_MAX) == Q3T_OK, "session reserve", "all positions");
        room[i] = cases[i]->max_frames * per_frame + 1;
        out[i] = (output){.codes = calloc((size_t)cases[i]->max_frames * (size_t)d->config.code_groups, sizeof(int32_t)),
                          .wav = calloc((size_t)room[i], sizeof(float))};
    }
    run(m, s, out, room, n);
    for (int32_t i = 0; i < n; i++) q3t_session_close(s[i]);
}

static void release(output *s) {
    free(s->codes);
    free(s->wav);
}

static int same(const dump *d, const output *a, const output *b) {
    return a->frames == b->frames && a->samples == b->samples && a->state == b->state &&
           memcmp(a->codes, b->codes, (size_t)a->frames * (size_t)d->config.code_groups * sizeof(int32_t)) == 0 &&
           memcmp(a->wav, b->wav, (size_t)a->samples * sizeof(float)) == 0;
}

static double snr(const float *got, const float *want, int32_t n) {
    double signal = 0, noise = 1e-300;
    for (int32_t i = 0; i < n; i++) {
        double e = (double)got[i] - (double)want[i];
        signal += (double)want[i] * (double)want[i];
        noise += e * e;
    }
    return 10 * log10(signal / noise);
}

static void check_reference(const dump *d, uint32_t mask, int32_t threads, const char *name) {
    q3t_model *m = open_model(d, mask, threads);
    for (int32_t i = 0; i < d->case_count; i++) {
        const dump_case *c = &d->cases[i];
        output s;
        generate(m, d, &c, &(how){0}, 1, &s);
        expect(s.frames == c->frames, name, "frames differ from the reference");
        expect(memcmp(s.codes, c->codes, (size_t)c->frames * (size_t)d->config.code_groups * sizeof(int32_t)) == 0, name,
               "codes differ from the reference");
        expect(s.samples == c->samples && snr(s.wav, c->wav, c->samples) >= 80, name, "samples differ from the reference");
        release(&s);
    }
    q3t_model_close(m);
}

static void check_same_bytes(const dump *d) {
    const dump_case *c = &d->cases[0];
    output want, got;
    q3t_model *m = open_model(d, Q3T_CPU_ALL, 1);
    generate(m, d, &c, &(how){.sampled = 1, .seed = 5}, 1, &want);
    expect(want.cached_rows == 0, "prefix", "the first prompt was in the cache");
    generate(m, d, &c, &(how){.sampled = 1, .seed = 5}, 1, &got);
    expect(got.cached_rows == c->prefix_rows && same(d, &want, &got), "same bytes", "warm");
    release(&got);
    generate(m, d, &c, &(how){.sampled = 1, .seed = 6}, 1, &got);
    expect(!same(d, &want, &got), "seed", "another seed gives the same output");
    release(&got);
    q3t_model_close(m);
    for (int32_t threads = 1; threads <= 3; threads++) {
        m = open_model(d, Q3T_CPU_ALL, threads);
        for (int32_t chunk = 0; chunk <= 64; chunk = chunk ? chunk * 64 : 1)
            for (int32_t pipeline = 0; pipeline < 2; pipeline++) {
                generate(m, d, &c, &(how){.sampled = 1, .seed = 5, .chunk = chunk, .pipeline = pipeline}, 1, &got);
                expect(same(d, &want, &got), "same bytes", pipeline ? "pipeline" : "slice");
                release(&got);
            }
        q3t_model_close(m);
    }
    release(&want);
}

static void check_batch(const dump *d) {
    enum { N = 5 };
    q3t_model *m = open_model(d, Q3T_CPU_ALL, 2);
    const dump_case *cases[N];
    how h[N];
    output alone[N], together[N];
    for (int32_t i = 0; i < N; i++) {
        cases[i] = &d->cases[i % d->case_count];
        h[i] = (how){.sampled = i & 1, .seed = (uint64_t)i, .chunk = i % 3, .pipeline = i % 2};
        generate(m, d, &cases[i], &h[i], 1, &alone[i]);
    }
    generate(m, d, cases, h, N, together);
    for (int32_t i = 0; i < N; i++) {
        expect(same(d, &alone[i], &together[i]), "batch", "a session depends on the others in the batch");
        release(&alone[i]);
        release(&together[i]);
    }
    q3t_model_close(m);
}

static void check_early_close(const dump *d) {
    q3t_model *m = open_model(d, Q3T_CPU_ALL, 2);
    for (int32_t steps = 0; steps < 8; steps++) {
        q3t_session_params p = params(&d->cases[0], (how){.chunk = 1, .pipeline = 1});
        q3t_session *s = NULL;
        expect(q3t_session_open(m, &p, &s) == Q3T_OK && q3t_session_reserve(s, INT32_MAX) == Q3T_OK, "early close", "open");
        int32_t status;
        for (int32_t i = 0; i < steps; i++) q3t_step(m, &s, 1, INT32_MAX, 0, &status);
        q3t_session_close(s);
    }
    q3t_model_close(m);
}

static void check_bad_arguments(const dump *d) {
    q3t_model_options options = {.cpu_mask = Q3T_CPU_ALL, .threads = 1};
    q3t_model *m = NULL;
    q3t_config config = d->config;
    size_t count = (size_t)d->tensor_count;
    expect(q3t_model_open(&config, d->tensors, count - 1, &options, &m) == Q3T_E_SHAPE, "model", "a tensor is missing");
    config.talker.hidden++;
    expect(q3t_model_open(&config, d->tensors, count, &options, &m) == Q3T_E_SHAPE, "model", "another hidden size");
    config.talker.hidden = 1 << 30;
    expect(q3t_model_open(&config, d->tensors, count, &options, &m) == Q3T_E_CONFIG, "model", "an absurd hidden size");
    static const _Alignas(64) char block[64];
    options.codec = block, options.codec_bytes = sizeof block;
    expect(q3t_model_open(&d->config, d->tensors, count, &options, &m) == Q3T_E_SHAPE, "model", "the tensors of the codec, and a packed codec");
    size_t lm = 0;
    q3t_tensor *alone = calloc(count, sizeof *alone);
    for (size_t i = 0; alone && i < count; i++)
        if (d->tensors[i].slot < Q3T_W_FIRST_SUM) alone[lm++] = d->tensors[i];
    expect(q3t_model_open(&d->config, alone, lm, &options, &m) == Q3T_E_SHAPE && !m, "model", "a packed codec of another size");
    free(alone);
    options.codec = NULL, options.threads = 0;
    expect(q3t_model_open(&d->config, d->tensors, count, &options, &m) == Q3T_E_ARGUMENT && !m, "model", "no threads");

    m = open_model(d, Q3T_CPU_ALL, 1);
    q3t_session *s = NULL;
    q3t_session_params p = params(&d->cases[0], (how){0});
    q3t_session_params bad[10];
    int32_t ids[1] = {d->config.vocab};
    for (int i = 0; i < 10; i++) bad[i] = p;
    bad[0].rows = 0;
    bad[1].text_ids = NULL;
    bad[2].max_frames = d->config.max_positions;
    bad[3].chunk_frames = 65;
    bad[4].talker.repetition_penalty = 0;
    bad[5].predictor = (q3t_sampling){0, NAN, 0, 1, 1};
    bad[6].prefix_rows = p.rows + 1;
    bad[7].rows = 1, bad[7].prefix_rows = 0, bad[7].codec_ids = ids;
    bad[8].max_frames = 0;
    bad[9].reference_frames = 1;
    for (int i = 0; i < 10; i++) expect(q3t_session_open(m, &bad[i], &s) == Q3T_E_ARGUMENT && !s, "session", "a bad argument passed");
    int32_t status;
    expect(q3t_step(m, NULL, 1, INT32_MAX, 0, &status) == Q3T_E_ARGUMENT, "step", "no sessions");
    q3t_model_close(m);
    q3t_model_close(NULL);
    q3t_session_close(NULL);
}

/* NaN in the weights of a slot must end the session with the status `want`, which names the part of the model. */
static void check_nonfinite(dump *d, int32_t slot, q3t_status want) {
    const uint16_t nan16 = 0x7fc0;
    const float nan32 = NAN;
    for (int32_t i = 0; i < d->tensor_count; i++) {
        q3t_tensor *t = &d->tensors[i];
        if (t->slot != slot) continue;
        size_t width = t->dtype == Q3T_BF16 ? 2 : 4, n = width;
        for (int32_t k = 0; k < t->dims; k++) n *= (size_t)t->shape[k];
        unsigned char *data = (unsigned char *)(uintptr_t)t->data, *original = malloc(n);
        if (!original) exit(2);
        memcpy(original, data, n);
        for (size_t at = 0; at < n; at += width) memcpy(data + at, width == 2 ? (const void *)&nan16 : (const void *)&nan32, width);
        q3t_model *m = open_model(d, Q3T_CPU_ALL, 2);
        q3t_session_params p = params(&d->cases[0], (how){0});
        q3t_session *s = NULL;
        int32_t status = 0;
        expect(q3t_session_open(m, &p, &s) == Q3T_OK && q3t_session_reserve(s, p.rows) == Q3T_OK, "not finite", "open");
        expect(q3t_step(m, &s, 1, INT32_MAX, 0, &status) == Q3T_OK, "not finite", "call");
        expect(status == (int32_t)want, "not finite", q3t_status_text((q3t_status)status));
        q3t_session_close(s);
        q3t_model_close(m);
        memcpy(data, original, n);
        free(original);
        return;
    }
}

static void check_expected(const char *isa) {
    char text[2048], want[64];
    q3t_kernels_text(Q3T_CPU_ALL, text, sizeof text);
    snprintf(want, sizeof want, "linear_bf16=%s", isa);
    expect(strstr(text, want) != NULL, "kernels", text);
    expect(strcmp(isa, "scalar") == 0 || strstr(text, "=scalar") == NULL, "kernels", text);
}

int main(int argc, char **argv) {
    int emulated = argc == 4 && !strcmp(argv[1], "--expect");
    if (emulated) check_expected(argv[2]);
    else if (argc != 2) return 2;
    dump d;
    dump_open(argv[argc - 1], &d);
    uint32_t flags = q3t_cpu_flags(), mask = 0;
    if (emulated) {
        /* emulation is slow: check only what depends on the instruction set; the rest is checked without emulation */
        check_reference(&d, flags, 1, argv[2]);
    } else {
        check_reference(&d, 0, 2, "scalar");
        for (int bit = 0; bit < 31; bit++) {
            if (!(flags >> bit & 1)) continue;
            char name[32];
            mask |= 1u << bit;
            snprintf(name, sizeof name, "mask 0x%x", (unsigned)mask);
            check_reference(&d, mask, 2, name);
        }
        check_same_bytes(&d);
        check_batch(&d);
        check_early_close(&d);
        check_bad_arguments(&d);
        check_nonfinite(&d, Q3T_W_CODEC_HEAD, Q3T_E_TALKER_NONFINITE);
        check_nonfinite(&d, Q3T_W_PREDICTOR_HEAD, Q3T_E_PREDICTOR_NONFINITE);
        check_nonfinite(&d, Q3T_W_DEC_OUT_BIAS, Q3T_E_CODEC_NONFINITE);
    }
    dump_close(&d);
    printf("%d failed\n", failures);
    return failures != 0;
}
