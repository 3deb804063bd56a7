/* check_coded.c - checks CODED weights: packing keeps every bf16 value, and linear_coded gives the bits of linear_bf16 on every
 * instruction set, for any split of rows and columns. `--bench` prints times on two threads. */
#define _POSIX_C_SOURCE 200809L
#include "kernels/table.h"
#include "base/pool.h"
#include "q3t.h"
#include "pack/matrix.h"
#include "packed_check.h"
#include <stdio.h>

static const struct { const char *name; uint32_t mask; } machines[] = {
    {"scalar", 0},
    {"avx2", Q3T_CPU_AVX2},
    {"avx512", Q3T_CPU_AVX2 | Q3T_CPU_AVX512},
    {"neon", Q3T_CPU_NEON},
    {"neon_bf16", Q3T_CPU_NEON | Q3T_CPU_NEON_BF16},
};
enum { MACHINES = sizeof machines / sizeof *machines };

static int failures;

static void expect(int ok, const char *what, const char *isa, int kind, int32_t rows, int32_t k, int32_t cols) {
    if (ok) return;
    failures++;
    printf("FAILED %s: %s kind %d, %d x %d, %d columns\n", isa, what, kind, rows, k, cols);
}

static uint16_t narrow(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (uint16_t)(bits >> 16);
}

typedef struct problem {
    int kind, fits;
    q3t_matrix plain, coded;
    uint16_t *weights;
    void *packed;
} problem;

/* Kinds of weights. ORDINARY: a normal distribution. RARE: the same, but a few weights are random finite values. SPREAD: few high
 * bytes, which differ between alternate rows, and rows of zeros. FULL: as many exceptions in a block as there is room for.
 * OVERFULL: one exception more. */
enum { ORDINARY, RARE, SPREAD, FULL, OVERFULL, KINDS };

static uint16_t weight_of(int kind, int32_t r, int32_t i, int32_t k) {
    const size_t room = q3t_coded_exceptions(k);
    const float x = normal() * 0.02f;
    switch (kind) {
    case RARE: return draw() % 900 ? narrow(x) : (uint16_t)(draw() & 0xbfff);
    case SPREAD: return r % 3 == 1 ? 0 : (uint16_t)((0x10 + r % 2 * 4 + draw() % 3) << 8 | (draw() & 0x80ff));
    case FULL:
    case OVERFULL:
        if (r % Q3T_CODED_ROWS == 3 && (size_t)(k - 1 - i) < room + (kind == OVERFULL)) return (uint16_t)(0x4000 + 256 * ((k - 1 - i) % 48));
        return (uint16_t)(0x3000 | (draw() & 0x87ff));
    default: return narrow(x);
    }
}

static problem make(int kind, int32_t rows, int32_t k) {
    problem p = {.kind = kind, .plain = {Q3T_FORMAT_BF16, rows, k, NULL}, .coded = {Q3T_FORMAT_CODED, rows, k, NULL}};
    size_t bytes = 0;
    p.weights = reserve((size_t)rows * k * 2);
    for (int32_t r = 0; r < rows; r++)
        for (int32_t i = 0; i < k; i++) p.weights[(size_t)r * k + i] = weight_of(kind, r, i, k);
    if (q3t_coded_matrix_bytes(rows, k, &bytes) != Q3T_OK) exit(2);
    p.packed = reserve(bytes);
    p.plain.data = p.weights;
    p.coded.data = p.packed;
    p.fits = q3t_coded_pack(&p.plain, 0, (rows + Q3T_CODED_ROWS - 1) / Q3T_CODED_ROWS, p.packed) == Q3T_OK;
    return p;
}

static void release(problem *p) {
    free(p->weights);
    free(p->packed);
}

/* Returns weight (r, i) of the packed matrix, read at the byte offsets that kernels/formats.h gives. */
static uint16_t decode(const problem *p, int32_t r, int32_t i) {
    const uint8_t *block = (const uint8_t *)p->packed + (size_t)(r / 8) * q3t_coded_block_bytes(p->plain.k);
    const uint8_t *step = block + q3t_coded_head_bytes(p->plain.k) + ((size_t)(i / 128) * 8 + (size_t)r % 8) * 192;
    const int place = q3t_coded_place(i % 128);
    uint8_t high = block[step[128 + place % 64] >> (i % 128 < 64 ? 0 : 4) & 15];
    for (const uint32_t *e = (const uint32_t *)(block + 16); *e != Q3T_CODED_END; e++)
        if (*e >> 8 == ((uint32_t)i / 128 << 10 | (uint32_t)r % 8 << 7 | (uint32_t)i % 128)) high = *e & 255;
    return (uint16_t)(high << 8 | step[place]);
}

static void check_packing(const problem *p) {
    int same = 1;
    for (int32_t r = 0; p->fits && r < p->plain.rows; r++)
        for (int32_t i = 0; i < p->plain.k; i++) same &= decode(p, r, i) == p->weights[(size_t)r * p->plain.k + i];
    expect(same, "weights", "any", p->kind, p->plain.rows, p->plain.k, 0);
}

/* Pack each of the 65,536 bf16 values twice: where its high byte is one of the 16 frequent high bytes, and as an exception. */
static void check_patterns(void) {
    enum { ROWS = 8, K = 2048 };
    problem p = make(ORDINARY, ROWS, K);
    for (int high = 0; high < 256; high++)
        for (int exceptions = 0; exceptions < 2; exceptions++) {
            const int base = exceptions ? high + 1 : high;
            for (int32_t i = 0; i < ROWS * K; i++) p.weights[i] = (uint16_t)((base + i / 256 % 16) << 8 | i % 256);
            for (int32_t i = 0; i < 64 && exceptions; i++) p.weights[(i * 251 + 3 * high) % (ROWS * K)] = (uint16_t)(high << 8 | ((4 * i + high) & 255));
            p.fits = q3t_coded_pack(&p.plain, 0, 1, p.packed) == Q3T_OK;
            expect(p.fits, "patterns fit", "any", high, ROWS, K, exceptions);
            check_packing(&p);
        }
    release(&p);
}

static void check_products(const q3t_kernels *t, const char *isa, const problem *p, int32_t cols) {
    const int32_t rows = p->plain.rows, k = p->plain.k;
    const size_t ldx = q3t_act_bytes(k), y_bytes = (size_t)rows * cols * 4;
    unsigned char *act = reserve(ldx * (size_t)cols);
    float *want = reserve(y_bytes), *got = reserve(y_bytes), *x = reserve((size_t)k * 4);
    for (int32_t c = 0; c < cols; c++) {
        for (int32_t i = 0; i < k; i++) x[i] = normal();
        t->prepare_bf16(act + (size_t)c * ldx, x, k);
    }
    t->linear_bf16(&p->plain, 0, rows, act, cols, want, (size_t)rows);
    memset(got, 0xff, y_bytes);
    t->linear_coded(&p->coded, 0, rows, act, cols, got, (size_t)rows);
    expect(same(want, got, y_bytes / 4), "linear", isa, p->kind, rows, k, cols);
    memset(got, 0xff, y_bytes);
    for (int32_t row = 0, next; row < rows; row = next) {
        next = row + 1 + row % 37 < rows ? row + 1 + row % 37 : rows;
        for (int32_t c = 0, n; c < cols; c += n) {
            n = c % 5 + 1 < cols - c ? c % 5 + 1 : cols - c;
            t->linear_coded(&p->coded, row, next, act + (size_t)c * ldx, n, got + (size_t)c * rows, (size_t)rows);
        }
    }
    expect(same(want, got, y_bytes / 4), "linear in pieces", isa, p->kind, rows, k, cols);
    free(act);
    free(want);
    free(got);
    free(x);
}

static void check(void) {
    static const int32_t shapes[][2] = {{1, 1}, {8, 128}, {33, 31}, {96, 256}, {64, 200}, {47, 1100}};
    check_patterns();
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int kind = 0; kind < KINDS; kind++) {
            problem p = make(kind, shapes[s][0], shapes[s][1]);
            const int small = (size_t)p.plain.k <= q3t_coded_exceptions(p.plain.k) || p.plain.rows < 4;
            if (kind != RARE && !small) expect(p.fits == (kind != OVERFULL), "fits", "any", kind, p.plain.rows, p.plain.k, 0);
            check_packing(&p);
            for (int m = 0; m < MACHINES && p.fits; m++) {
                q3t_kernels t;
                if (machines[m].mask & ~q3t_cpu_flags()) continue;
                q3t_kernels_init(&t, machines[m].mask);
                expect(!strcmp(t.linear_coded_isa, t.linear_bf16_isa) && !strcmp(t.linear_coded_isa, machines[m].name), "table", machines[m].name, kind, 0, 0, 0);
                for (int32_t cols = 1; cols < 50; cols += 1 + cols / 3) check_products(&t, machines[m].name, &p, cols);
            }
            release(&p);
        }
}

enum { BENCH_ROWS = 76800, BENCH_K = 1024, BENCH_TIMES = 9 };

typedef struct work {
    const q3t_kernels *t;
    const q3t_matrix *m;
    const void *act;
    float *y;
    int32_t cols;
} work;

static void rows_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const work *w = arg;
    (void)worker;
    (w->m->format == Q3T_FORMAT_CODED ? w->t->linear_coded : w->t->linear_bf16)(w->m, begin, end, w->act, w->cols, w->y, (size_t)w->m->rows);
}

static double timed(q3t_pool *pool, const q3t_kernels *t, const q3t_matrix *m, int32_t rows, const void *act, int32_t cols, float *y) {
    work w = {t, m, act, y, cols};
    double start = seconds();
    q3t_pool_run(pool, rows, 32, rows_task, &w);
    return seconds() - start;
}

static int by_size(const void *a, const void *b) { return *(const double *)a < *(const double *)b ? -1 : 1; }

static void bench(q3t_pool *pool, int32_t k) {
    static const int32_t cols[] = {1, 2, 4, 8, 40};
    problem p = make(ORDINARY, BENCH_ROWS * BENCH_K / k, k);
    unsigned char *act = reserve(q3t_act_bytes(k) * 40);
    float *y = reserve((size_t)p.plain.rows * 40 * 4), *x = reserve((size_t)k * 4);
    for (int m = 1; m < MACHINES; m++) {
        q3t_kernels t;
        if (machines[m].mask & ~q3t_cpu_flags()) continue;
        q3t_kernels_init(&t, machines[m].mask);
        for (int32_t c = 0; c < 40; c++) {
            for (int32_t i = 0; i < k; i++) x[i] = normal();
            t.prepare_bf16(act + (size_t)c * q3t_act_bytes(k), x, k);
        }
        for (int cached = 0; cached < 2; cached++)
            for (size_t c = 0; c < sizeof cols / sizeof *cols; c++) {
                double took[2][BENCH_TIMES];
                int32_t rows = cached ? 512 : cols[c] > 8 ? p.plain.rows / 8 : p.plain.rows;
                for (int n = 0; n < BENCH_TIMES; n++) {
                    took[0][n] = timed(pool, &t, &p.plain, rows, act, cols[c], y);
                    took[1][n] = timed(pool, &t, &p.coded, rows, act, cols[c], y);
                }
                for (int i = 0; i < 2; i++) qsort(took[i], BENCH_TIMES, sizeof **took, by_size);
                const double plain = took[0][BENCH_TIMES / 2], coded = took[1][BENCH_TIMES / 2], weights = (double)rows * k;
                printf("%-12s %6d x %d %-6s cols %2d: plain %9.1f us %5.1f GB/s, coded %9.1f us %5.1f GB/s, %5.1f G weights/s: %.2f times\n",
                       machines[m].name, rows, k, cached ? "cached" : "memory", cols[c], plain * 1e6, weights * 2 / plain * 1e-9,
                       coded * 1e6, weights * 1.5 / coded * 1e-9, weights / coded * 1e-9, plain / coded);
            }
    }
    free(act);
    free(y);
    free(x);
    release(&p);
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "--bench")) {
        q3t_pool *pool;
        if (q3t_pool_open(2, &pool) != Q3T_OK) return 2;
        bench(pool, 1024);
        bench(pool, 3072);
        q3t_pool_close(pool);
        return 0;
    }
    check();
    if (!failures) printf("check_coded: ok\n");
    return failures != 0;
}
