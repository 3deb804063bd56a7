/* check_cache.c - checks the KV cache: that blocks do not change what is read from it, that a session whose cache gets no room is
 * unchanged, and that the memory of a session is the memory that q3t_session_bytes says.
 *
 *   check_cache DUMP */
#define _GNU_SOURCE
#include "attention/kv_cache.h"
#include "counted_memory.h"
#include "dump.h"

enum { BLOCK = Q3T_KV_BLOCK, FRAMES = 150, DIM = 24, HEADS = 3, QUERIES = 2, CAPACITY = 400 };

static int failures;

static void expect(int ok, const char *what) {
    if (ok) return;
    failures++;
    printf("  FAIL %s\n", what);
}

static float number(void) {
    static uint64_t seed = 1;
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(seed >> 32) * 0x1p-30f;
}

/* ------------------------------------------------------------ the cache by itself */
typedef struct caches {
    q3t_arena arena;
    q3t_kv_cache one, blocks; /* the same keys and values, in one block and in several */
} caches;

static void carve(caches *c, q3t_format format) {
    q3t_kv_carve(&c->one, &c->arena, format, HEADS, DIM, CAPACITY);
    q3t_kv_carve_table(&c->blocks, &c->arena, format, HEADS, DIM, CAPACITY);
}

/* 1 if attention to random positions below `positions`, shifted by `shift` in b, gives the same bits in both caches. */
static int same_attention(const q3t_kernels *k, const q3t_kv_cache *a, const q3t_kv_cache *b, int32_t positions, int32_t shift) {
    static float scores[QUERIES * (CAPACITY + 2 * Q3T_KEYS)];
    float q[QUERIES * DIM], x[QUERIES * DIM], y[QUERIES * DIM];
    for (int32_t round = 0; round < 40; round++) {
        int32_t first = shift + round * (positions - shift) / 40, count = 1 + (round * 37) % (positions - first);
        for (int32_t i = 0; i < QUERIES * DIM; i++) q[i] = number();
        q3t_kv_attend(k, a, round % HEADS, x, q, QUERIES, first, count, scores);
        q3t_kv_attend(k, b, round % HEADS, y, q, QUERIES, first - shift, count, scores);
        if (memcmp(x, y, sizeof x)) return 0;
    }
    return 1;
}

static void check_blocks(q3t_format format) {
    q3t_kernels k;
    q3t_kernels_init(&k, q3t_cpu_flags());
    caches c = {0};
    carve(&c, format);
    if (q3t_arena_reserve(&c.arena) != Q3T_OK) exit(2);
    carve(&c, format);
    for (int32_t p = 0; p < CAPACITY; p++) {
        if (p == c.blocks.capacity) expect(q3t_kv_grow(&c.blocks, p + 1) == Q3T_OK && c.blocks.capacity == p + BLOCK, "growing by one block");
        for (int32_t head = 0; head < HEADS; head++) {
            float key[DIM], value[DIM];
            for (int32_t i = 0; i < DIM; i++) key[i] = number(), value[i] = number();
            q3t_kv_store(&c.one, head, p, key, value);
            q3t_kv_store(&c.blocks, head, p, key, value);
        }
        if (p % 61 == 60) expect(same_attention(&k, &c.one, &c.blocks, p + 1, 0), "attention depends on the blocks");
    }
    for (int32_t n = 1; n <= CAPACITY; n += 133) { /* to a cache of one block, and back into several */
        caches to = {0};
        carve(&to, format);
        if (q3t_arena_reserve(&to.arena) != Q3T_OK) exit(2);
        carve(&to, format);
        if (q3t_kv_grow(&to.blocks, n) != Q3T_OK) exit(2);
        q3t_kv_copy(&c.blocks, &to.one, n);
        q3t_kv_copy(&to.one, &to.blocks, n);
        expect(same_attention(&k, &c.one, &to.one, n, 0) && same_attention(&k, &c.one, &to.blocks, n, 0), "a copy differs");
        q3t_kv_free(&to.blocks);
        q3t_arena_free(&to.arena);
    }
    q3t_kv_drop(&c.one, 5 * Q3T_KEYS);
    expect(same_attention(&k, &c.blocks, &c.one, CAPACITY, 5 * Q3T_KEYS), "positions that were dropped change the others");
    q3t_kv_free(&c.blocks);
    q3t_arena_free(&c.arena);
}

/* ------------------------------------------------------------ sessions */
static q3t_model *open_model(const dump *d) {
    q3t_model_options options = {.cpu_mask = Q3T_CPU_ALL, .threads = 2};
    q3t_model *m = NULL;
    if (q3t_model_open(&d->config, d->tensors, (size_t)d->tensor_count, &options, &m) != Q3T_OK) exit(2);
    return m;
}

/* The parameters of a session of FRAMES frames, which fill more than two blocks. */
static q3t_session_params params(const dump *d, uint64_t seed) {
    const dump_case *c = &d->cases[0];
    q3t_sampling sampling = {0, 0.9f, 20, 0.95f, c->repetition_penalty};
    return (q3t_session_params){
        .rows = c->rows, .text_ids = c->text_ids, .codec_ids = c->codec_ids, .prefix_rows = c->prefix_rows,
        .trailing = c->trailing, .trailing_ids = c->trailing_ids, .talker = sampling, .predictor = sampling, .seed = seed,
        .max_frames = FRAMES, .min_frames = FRAMES,
    };
}

static q3t_session *open_params(q3t_model *m, const q3t_session_params *p) {
    q3t_session *s = NULL;
    if (q3t_session_open(m, p, &s) != Q3T_OK) exit(2);
    return s;
}

static q3t_session *open_session(q3t_model *m, uint64_t seed, const dump *d) {
    q3t_session_params p = params(d, seed);
    return open_params(m, &p);
}

static q3t_session_info info_of(const q3t_session *s) {
    q3t_session_info info = {0};
    expect(q3t_session_info_get(s, &info) == Q3T_OK, "info");
    return info;
}

/* Step n sessions once. Returns 1 if all succeed. */
static int step(q3t_model *m, q3t_session **s, int32_t n) {
    int32_t status[2] = {-1, -1};
    int ok = q3t_step(m, s, n, INT32_MAX, 0, status) == Q3T_OK;
    for (int32_t i = 0; i < n; i++) ok &= status[i] == Q3T_OK;
    return ok;
}

/* Generate all frames of a session, with room for one position at a time. codes: out, (FRAMES, code_groups). */
static void finish(q3t_model *m, q3t_session *s, int32_t *codes) {
    static float samples[1 << 16];
    for (q3t_session_info info = info_of(s); info.state == Q3T_RUNNING; info = info_of(s)) {
        int32_t n;
        expect(q3t_session_reserve(s, 1) == Q3T_OK && step(m, &s, 1), "a step with room for one position");
        do expect(q3t_session_read(s, samples, 1 << 16, 0, &n) == Q3T_OK, "reading");
        while (n > 0);
    }
    expect(info_of(s).frames == FRAMES && q3t_session_codes(s, 0, FRAMES, codes) == Q3T_OK, "all frames");
}

/* A session without room is left out of a step, unchanged, and its batch goes on. */
static void check_no_room(const dump *d, q3t_model *m, const int32_t *want) {
    q3t_session *s[2] = {open_session(m, 1, d), open_session(m, 2, d)};
    const int32_t rows = d->cases[0].rows;
    int32_t status[2], *codes = calloc((size_t)FRAMES * (size_t)d->config.code_groups, sizeof *codes);
    if (!codes) exit(2);
    for (int32_t missing = rows; missing > 0; missing = missing > 1 ? 1 : 0) { /* the prompt, and the first position after a block */
        int32_t before = info_of(s[0]).positions;
        q3t_session_reserve(s[1], rows);
        expect(q3t_step(m, s, 2, INT32_MAX, 0, status) == Q3T_OK && status[0] == Q3T_E_CACHE_ROOM && status[1] == Q3T_OK, "a step without room");
        expect(info_of(s[0]).positions == before && info_of(s[0]).frames == (before ? before - rows + 1 : 0), "the session is unchanged");
        if (COUNTED) {
            count_from_here(0);
            expect(q3t_session_reserve(s[0], missing) == Q3T_E_MEMORY && allocations == 1, "no memory for a block");
            count_no_more();
            expect(q3t_step(m, s, 1, INT32_MAX, 0, status) == Q3T_OK && status[0] == Q3T_E_CACHE_ROOM, "still no room");
        }
        expect(q3t_session_reserve(s[0], missing) == Q3T_OK, "room after all");
        while (info_of(s[0]).positions < BLOCK) expect(step(m, s, 1), "a step within the block");
    }
    finish(m, s[0], codes);
    expect(!memcmp(codes, want, (size_t)FRAMES * (size_t)d->config.code_groups * sizeof *codes), "the codes are those of a session with room");
    if (COUNTED) { /* of three blocks, one is got: what was got stays */
        q3t_session *third = open_session(m, 3, d);
        count_from_here(1);
        expect(q3t_session_reserve(third, INT32_MAX) == Q3T_E_MEMORY && allocations == 2, "memory for one of three blocks");
        count_no_more();
        expect(step(m, &third, 1), "a step in the block that was got");
        q3t_session_close(third);
    }
    q3t_session_close(s[0]);
    q3t_session_close(s[1]);
    free(codes);
}

static void check_reserve(const dump *d) {
    q3t_model *m = open_model(d);
    int32_t *want = calloc((size_t)FRAMES * (size_t)d->config.code_groups, sizeof *want);
    if (!want) exit(2);
    q3t_session *s = open_session(m, 1, d);
    expect(q3t_session_reserve(NULL, 1) == Q3T_E_ARGUMENT && q3t_session_reserve(s, -1) == Q3T_E_ARGUMENT, "arguments of reserve");
    expect(q3t_session_reserve(s, INT32_MAX) == Q3T_OK, "all positions");
    count_from_here(-1);
    expect(q3t_session_reserve(s, INT32_MAX) == Q3T_OK && allocations == 0, "all positions again");
    count_no_more();
    finish(m, s, want);
    expect(q3t_session_reserve(s, INT32_MAX) == Q3T_OK, "a stopped session needs no room");
    q3t_session_close(s);
    check_no_room(d, m, want);
    free(want);
    q3t_model_close(m);
}

/* The parameters of a session whose prompt has ROWS rows, of which the first block can be cached: the rows of a case, repeated. */
enum { ROWS = 2 * BLOCK + 20 };
static q3t_session_params long_prompt(const dump *d, uint64_t seed) {
    static int32_t text[ROWS], codec[ROWS];
    q3t_session_params p = params(d, seed);
    for (int32_t i = 0; i < ROWS; i++) text[i] = p.text_ids[i % p.rows], codec[i] = p.codec_ids[i % p.rows];
    p.rows = ROWS, p.text_ids = text, p.codec_ids = codec, p.prefix_rows = BLOCK;
    return p;
}

/* A session of which each step gets room for what its budget allows gets on, and makes the codes of one that has all room: when its
 * prefix is not cached, and when the prefix fills all of the room of the first step. */
static void check_budgets(const dump *d) {
    static const int32_t budgets[] = {7, BLOCK - 1, BLOCK, BLOCK + 1, INT32_MAX};
    const size_t bytes = (size_t)FRAMES * (size_t)d->config.code_groups * sizeof(int32_t);
    int32_t *want = calloc(1, bytes), *codes = calloc(1, bytes), status;
    if (!want || !codes) exit(2);
    for (size_t i = 0; i < 2 * (sizeof budgets / sizeof *budgets); i++) {
        q3t_model *m = open_model(d);
        q3t_session_params p = long_prompt(d, 1);
        int32_t rows = budgets[i / 2], cached = (int32_t)i % 2;
        for (int32_t round = 0; round <= cached; round++) {
            q3t_session *s = open_params(m, &p);
            if (rows == INT32_MAX) {
                q3t_session_reserve(s, BLOCK);
                expect(q3t_step(m, &s, 1, rows, 0, &status) == Q3T_OK && status == Q3T_E_CACHE_ROOM, "room for a part of the prompt");
            }
            for (q3t_session_info info = info_of(s), before = info; info.rows_left > 0; before = info) {
                expect(q3t_session_reserve(s, rows < info.rows_left ? rows : info.rows_left) == Q3T_OK, "room for the budget");
                expect(q3t_step(m, &s, 1, rows, 0, &status) == Q3T_OK && status == Q3T_OK, "a step with room for its budget");
                info = info_of(s);
                if (info.positions == before.positions) exit(2);
            }
            expect(info_of(s).cached_rows == (round ? BLOCK : 0), "the prefix that fills a block is cached");
            finish(m, s, codes);
            if (i == 0) memcpy(want, codes, bytes);
            expect(!memcmp(codes, want, bytes), "the codes depend on the room or the budget");
            q3t_session_close(s);
        }
        q3t_model_close(m);
    }
    free(want);
    free(codes);
}

/* The budget of a session without room goes to the next one. A session for which no budget is left, or that waits for text, needs no
 * room. */
static void check_shares(const dump *d) {
    enum { SHARE = 10 };
    q3t_model *m = open_model(d);
    q3t_session_params p = long_prompt(d, 1);
    q3t_session *s[2] = {open_params(m, &p), open_params(m, &p)}, *swapped[2] = {s[1], s[0]};
    int32_t status[2], id = 0;
    q3t_session_reserve(s[1], SHARE);
    expect(q3t_step(m, s, 2, SHARE, 0, status) == Q3T_OK && status[0] == Q3T_E_CACHE_ROOM && status[1] == Q3T_OK, "shares of a budget");
    expect(info_of(s[0]).positions == 0 && info_of(s[1]).positions == SHARE, "the budget of the session without room");
    expect(q3t_step(m, swapped, 2, SHARE, 0, status) == Q3T_OK && status[0] == Q3T_OK && status[1] == Q3T_OK, "no budget, no room");
    expect(info_of(s[0]).positions == 0 && info_of(s[1]).positions == 2 * SHARE, "a session without budget and room");
    expect(q3t_session_reserve(s[1], ROWS) == Q3T_OK && step(m, &s[1], 1), "the prefix of the prompt is cached now");
    q3t_session_close(s[1]);
    swapped[0] = s[1] = open_params(m, &p); /* takes in less than the budget, because the prefix is cached */
    q3t_session_reserve(s[1], ROWS);
    expect(q3t_step(m, swapped, 2, ROWS - 1, 0, status) == Q3T_OK && status[0] == Q3T_OK && status[1] == Q3T_OK, "budget that a prefix saves");
    expect(info_of(s[1]).cached_rows == BLOCK && info_of(s[1]).rows_left == 0 && info_of(s[0]).positions == 0, "no room for a prefix");
    q3t_session_close(s[0]);
    q3t_session_close(s[1]);
    p.rows = BLOCK, p.prefix_rows = 0, p.open_text = 1, p.trailing = 0;
    s[0] = open_params(m, &p);
    expect(q3t_session_reserve(s[0], BLOCK) == Q3T_OK && step(m, s, 1), "a prompt that fills a block");
    expect(info_of(s[0]).needs_text && step(m, s, 1) && info_of(s[0]).frames == 1, "a session that waits for text needs no room");
    expect(q3t_session_append(s[0], &id, 1, 0) == Q3T_OK, "append");
    expect(q3t_step(m, s, 1, 1, 0, status) == Q3T_OK && status[0] == Q3T_E_CACHE_ROOM, "with text it needs room");
    expect(q3t_session_reserve(s[0], 1) == Q3T_OK && step(m, s, 1) && info_of(s[0]).frames == 2, "with text and room it goes on");
    q3t_session_close(s[0]);
    q3t_model_close(m);
}

/* Open sessions with room for some positions, and compare what they allocate with q3t_session_bytes. */
static void check_bytes(const dump *d) {
    enum { REFERENCE = 5, THREAD = 4096 /* bytes that the C library allocates to start a thread */ };
    q3t_model *m = open_model(d);
    int32_t *reference = calloc((size_t)REFERENCE * (size_t)d->config.code_groups, sizeof *reference);
    float *speaker = calloc((size_t)d->config.talker.hidden, sizeof *speaker);
    static const int32_t positions[] = {0, 1, BLOCK, BLOCK + 1, 2 * BLOCK, FRAMES, INT32_MAX};
    if (!reference || !speaker) exit(2);
    for (size_t i = 0; i < 2 * (sizeof positions / sizeof *positions); i++) {
        q3t_session_params p = params(d, 1), wrong = p;
        int32_t n = positions[i / 2];
        size_t bytes = 0;
        q3t_session *s = NULL;
        p.pipeline = i % 2;
        p.open_text = i % 3 == 0;
        if (i % 4 > 1) p.reference_codes = reference, p.reference_frames = REFERENCE, p.speaker = speaker, p.chunk_frames = 64;
        expect(q3t_session_bytes(m, &p, n, &bytes) == Q3T_OK, "bytes");
        count_from_here(-1);
        expect(q3t_session_open(m, &p, &s) == Q3T_OK && q3t_session_reserve(s, n) == Q3T_OK, "opening");
        count_no_more();
        size_t got = allocated_bytes;
        if (COUNTED) expect(got >= bytes && got <= bytes + (p.pipeline ? THREAD : 0), "a session takes other memory than said");
        q3t_session_close(s);
        wrong.max_frames = 0;
        expect(q3t_session_bytes(m, &wrong, n, &bytes) == Q3T_E_ARGUMENT, "bytes of wrong parameters");
        expect(q3t_session_bytes(m, &p, -1, &bytes) == Q3T_E_ARGUMENT && q3t_session_bytes(NULL, &p, 1, &bytes) == Q3T_E_ARGUMENT, "bytes");
    }
    free(reference);
    free(speaker);
    q3t_model_close(m);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    dump d;
    dump_open(argv[1], &d);
    check_blocks(Q3T_FORMAT_F32);
    check_blocks(Q3T_FORMAT_BF16);
    check_reserve(&d);
    check_budgets(&d);
    check_shares(&d);
    check_bytes(&d);
    dump_close(&d);
    printf("%s%d failed\n", COUNTED ? "" : "calls are not counted here: ", failures);
    return failures != 0;
}
