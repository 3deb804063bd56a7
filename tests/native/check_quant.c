/* check_quant.c - checks INT8 and INT4 weights: packing gives the layout and the rounding that kernels/formats.h describes, and
 * every instruction set gives the bits of kernels/scalar/quant.c, for any split of rows and columns. `--bench` prints times. */
#define _POSIX_C_SOURCE 200809L
#include "kernels/table.h"
#include "q3t.h"
#include "pack/matrix.h"
#include "packed_check.h"
#include <stdio.h>

static const struct { const char *name; uint32_t mask; } machines[] = {
    {"scalar", 0},
    {"avx2", Q3T_CPU_AVX2},
    {"avx512", Q3T_CPU_AVX2 | Q3T_CPU_AVX512},
    {"avx512_vnni", Q3T_CPU_AVX2 | Q3T_CPU_AVX512 | Q3T_CPU_AVX512_VNNI},
    {"neon", Q3T_CPU_NEON},
    {"neon_dotprod", Q3T_CPU_NEON | Q3T_CPU_NEON_DOTPROD},
    {"neon_i8mm", Q3T_CPU_NEON | Q3T_CPU_NEON_DOTPROD | Q3T_CPU_NEON_I8MM},
};
enum { MACHINES = sizeof machines / sizeof *machines };

static int failures;

static void expect(int ok, const char *what, const char *isa, int32_t format, int32_t rows, int32_t k, int32_t cols) {
    if (ok) return;
    failures++;
    printf("FAILED %s: %s format %d, %d x %d, %d columns\n", isa, what, format, rows, k, cols);
}

typedef struct problem {
    int32_t format, rows, k, cols;
    q3t_matrix m;
    float *weights, *x;
    unsigned char *packed;
} problem;

/* Make a matrix and columns. kind 0: ordinary values; 1: the largest possible products; 2: extreme scales, zeros, and columns that
 * are not finite; 3: a few weights that are not finite. */
static problem make(int32_t format, int32_t rows, int32_t k, int32_t cols, int kind) {
    problem p = {format, rows, k, cols, {Q3T_FORMAT_F32, rows, k, NULL}, NULL, NULL, NULL};
    size_t bytes = 0;
    p.weights = reserve((size_t)rows * k * 4);
    p.x = reserve((size_t)cols * k * 4);
    for (size_t i = 0; i < (size_t)rows * k; i++)
        p.weights[i] = kind == 1 ? (i / k % 2 ? -1.0f : 1.0f) : kind == 2 ? normal() * powf(10, -40 + (float)(i % 71)) : normal() * 0.02f;
    for (size_t i = 0; i < (size_t)cols * k; i++)
        p.x[i] = kind == 1 ? (i / k % 2 ? -3.0f : 3.0f) : kind == 2 ? normal() * powf(10, -35 + (float)(i % 36)) : normal();
    if (kind == 2) {
        p.x[k / 2] = NAN;
        if (cols > 1) p.x[k] = -INFINITY;
        memset(p.weights, 0, (size_t)k * 4);
    }
    for (size_t i = 0; kind == 3 && i < (size_t)rows * k; i += 997) p.weights[i] = i % 2 ? NAN : -INFINITY;
    if (q3t_quant_matrix_bytes(format, rows, k, &bytes) != Q3T_OK) exit(2);
    p.packed = reserve(bytes);
    p.m.data = p.weights;
    q3t_quant_pack(format, &p.m, 0, (rows + Q3T_BLOCK - 1) / Q3T_BLOCK, p.packed);
    p.m = (q3t_matrix){format, rows, k, p.packed};
    return p;
}

static void release(problem *p) {
    free(p->weights);
    free(p->x);
    free(p->packed);
}

/* Returns weight (r, i) before packing; 0 beyond the matrix. */
static float original(const problem *p, int32_t r, int32_t i) { return r < p->rows && i < p->k ? p->weights[(size_t)r * p->k + i] : 0; }

/* Returns the level of w for the scale 1 / inverse: rounded to nearest, ties to even, limited to low .. high. */
static int nearest(float w, float inverse, int low, int high) {
    const float q = rintf(w * inverse);
    return q < (float)low ? low : q > (float)high ? high : (int)q;
}

/* Returns the largest magnitude of the inputs [first, first + n) of row r; NaN if one of them is not finite. */
static float magnitude(const problem *p, int32_t r, int32_t first, int32_t n) {
    float m = 0;
    for (int32_t i = first; i < first + n; i++) {
        if (!isfinite(original(p, r, i))) return NAN;
        m = fmaxf(m, fabsf(original(p, r, i)));
    }
    return m;
}

static void check_int8_layout(const problem *p) {
    const int32_t groups = (p->k + 63) / 64;
    const size_t block_bytes = (size_t)groups * 2048 + 128;
    int levels = 1, scales = q3t_quant_block_bytes(p->format, p->k) == block_bytes;
    for (int32_t row = 0; row < (p->rows + 31) / 32 * 32; row++) {
        const unsigned char *block = p->packed + (size_t)(row / 32) * block_bytes;
        const int32_t r = row % 32;
        const float m = magnitude(p, row, 0, p->k), want = m / 127;
        float scale;
        memcpy(&scale, block + (size_t)groups * 2048 + 4 * r, 4);
        scales &= isnan(m) ? isnan(scale) : scale == want;
        for (int32_t i = 0; i < groups * 64; i++)
            levels &= block[i / 4 * 128 + 4 * r + i % 4] == 128 + (m >= 1e-30f ? nearest(original(p, row, i), 127 / m, -127, 127) : 0);
    }
    expect(scales, "layout: scales", "any", p->format, p->rows, p->k, 0);
    expect(levels, "layout: levels", "any", p->format, p->rows, p->k, 0);
}

/* Check the layout of INT4. If the values are ordinary, also check that the squared error over the matrix is less than with scales
 * that map the largest weight to 7. */
static void check_int4_layout(const problem *p, int ordinary) {
    const int32_t groups = (p->k + 31) / 32;
    int levels = 1, scales = q3t_quant_block_bytes(p->format, p->k) == (size_t)groups * 576;
    double error = 0, plain = 0;
    for (int32_t row = 0; row < (p->rows + 31) / 32 * 32; row++)
        for (int32_t g = 0; g < groups; g++) {
            const unsigned char *group = p->packed + ((size_t)(row / 32) * groups + g) * 576;
            const int32_t r = row % 32;
            const float m = magnitude(p, row, g * 32, 32);
            uint16_t half;
            memcpy(&half, group + 512 + 4 * (r % 16) + 2 * (r / 16), 2);
            const float scale = q3t_widen(half);
            const int fits = fabsf(scale) * 10 > m && fabsf(scale) * 6 < m;
            scales &= isnan(m) ? isnan(scale) : m < 1e-30f ? scale == 0 : fits || (m < 1e-19f && scale == 0);
            for (int32_t j = 0; j < 32; j++) {
                const float w = original(p, row, g * 32 + j), step = m / 7;
                const int byte = group[j / 8 * 128 + 4 * r + j % 4], q = (j % 8 < 4 ? byte & 15 : byte >> 4) - 8;
                levels &= q == (isnan(scale) || scale == 0 ? 0 : nearest(w, 1 / scale, -8, 7));
                error += pow(w - (double)q * scale, 2);
                plain += pow(w - (m > 0 ? (double)nearest(w, 1 / step, -8, 7) * step : 0), 2);
            }
        }
    expect(scales, "layout: scales", "any", p->format, p->rows, p->k, 0);
    expect(levels, "layout: levels", "any", p->format, p->rows, p->k, 0);
    if (ordinary) expect(error < plain, "least squares", "any", p->format, p->rows, p->k, 0);
}

/* Check that packed weights have the byte offsets and the rounding of kernels/formats.h; weights beyond the matrix must be 0. */
static void check_layouts(void) {
    static const int32_t shapes[][2] = {{1, 1}, {33, 31}, {40, 65}, {64, 100}, {70, 1024}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int kind = 0; kind < 4; kind++) {
            problem eight = make(Q3T_FORMAT_INT8, shapes[s][0], shapes[s][1], 1, kind);
            problem four = make(Q3T_FORMAT_INT4, shapes[s][0], shapes[s][1], 1, kind);
            check_int8_layout(&eight);
            check_int4_layout(&four, kind == 0 && four.k > 1000);
            release(&eight);
            release(&four);
        }
}

static void prepare(const q3t_kernels *t, const problem *p, unsigned char *act) {
    for (int32_t c = 0; c < p->cols; c++)
        (p->format == Q3T_FORMAT_INT8 ? t->prepare_int8 : t->prepare_int4)(act + (size_t)c * q3t_act_bytes(p->k),
                                                                          p->x + (size_t)c * p->k, p->k);
}

static void linear(const q3t_kernels *t, const problem *p, const unsigned char *act, int32_t row0, int32_t row1, int32_t cols, float *y) {
    (p->format == Q3T_FORMAT_INT8 ? t->linear_int8 : t->linear_int4)(&p->m, row0, row1, act, cols, y, (size_t)p->rows);
}

static void check_one(const q3t_kernels *t, const q3t_kernels *scalar, const char *isa, const problem *p) {
    size_t act_bytes = q3t_act_bytes(p->k) * (size_t)p->cols, y_bytes = (size_t)p->rows * p->cols * 4;
    unsigned char *want_act = reserve(act_bytes), *act = reserve(act_bytes);
    float *want = reserve(y_bytes), *got = reserve(y_bytes);
    memset(want_act, 0, act_bytes);
    memset(act, 0, act_bytes);
    prepare(scalar, p, want_act);
    prepare(t, p, act);
    expect(!memcmp(want_act, act, act_bytes), "prepare", isa, p->format, p->rows, p->k, p->cols);
    linear(scalar, p, want_act, 0, p->rows, p->cols, want);
    memset(got, 0xff, y_bytes);
    linear(t, p, want_act, 0, p->rows, p->cols, got);
    expect(same(want, got, y_bytes / 4), "linear", isa, p->format, p->rows, p->k, p->cols);
    memset(got, 0xff, y_bytes);
    for (int32_t row = 0, next; row < p->rows; row = next) {
        next = row + 1 + row % 37 < p->rows ? row + 1 + row % 37 : p->rows;
        for (int32_t c = 0; c < p->cols; c++)
            linear(t, p, want_act + (size_t)c * q3t_act_bytes(p->k), row, next, 1, got + (size_t)c * p->rows);
    }
    expect(same(want, got, y_bytes / 4), "linear in pieces", isa, p->format, p->rows, p->k, p->cols);
    free(want_act);
    free(act);
    free(want);
    free(got);
}

/* Check the error of products of ordinary values, relative to the products of the weights before packing. */
static void check_error(const q3t_kernels *t, const problem *p) {
    unsigned char *act = reserve(q3t_act_bytes(p->k) * (size_t)p->cols);
    float *y = reserve((size_t)p->rows * p->cols * 4);
    double noise = 0, power = 0;
    prepare(t, p, act);
    linear(t, p, act, 0, p->rows, p->cols, y);
    for (int32_t c = 0; c < p->cols; c++)
        for (int32_t r = 0; r < p->rows; r++) {
            double want = 0;
            for (int32_t i = 0; i < p->k; i++) want += (double)p->weights[(size_t)r * p->k + i] * p->x[(size_t)c * p->k + i];
            power += want * want;
            noise += (y[(size_t)c * p->rows + r] - want) * (y[(size_t)c * p->rows + r] - want);
        }
    /* the weights are normally distributed and rounded to 127 levels up to the largest value, with INT4 to about 8 */
    expect(sqrt(noise / power) < (p->format == Q3T_FORMAT_INT8 ? 0.0125 : 0.1), "error", "any", p->format, p->rows, p->k, p->cols);
    free(act);
    free(y);
}

/* Check that every packer gives the same bytes for ordinary values, zeros, tiny values, the limits of float, and values that are
 * not finite. */
static void check_packers(void) {
    static const float odd[] = {0, -0.0f, 1e-38f, 1e-30f, 3e38f, -3e38f, INFINITY, NAN};
    for (int m = 1; m < MACHINES; m++) {
        q3t_int4_packer *pack = q3t_int4_packer_for(machines[m].mask & q3t_cpu_flags());
        for (int n = 0; n < 500; n++) {
            float x[Q3T_GROUP_INT4][Q3T_BLOCK];
            uint8_t want[Q3T_GROUP_INT4 / 2 * Q3T_BLOCK + 2 * Q3T_BLOCK], got[sizeof want];
            for (int i = 0; i < Q3T_GROUP_INT4 * Q3T_BLOCK; i++) {
                float value = normal() * (n % 3 == 1 ? 1e-30f : 0.03f);
                x[i / Q3T_BLOCK][i % Q3T_BLOCK] = n % 3 == 2 && uniform() > 0.45f ? odd[(int)((uniform() + 0.5f) * 7.99f)] : value;
            }
            q3t_int4_pack_scalar((const float(*)[Q3T_BLOCK])x, want);
            pack((const float(*)[Q3T_BLOCK])x, got);
            expect(!memcmp(want, got, sizeof want), "packed group", machines[m].name, Q3T_FORMAT_INT4, Q3T_BLOCK, Q3T_GROUP_INT4, 0);
        }
    }
}

/* Check that packed weights have the same bytes on every processor, with every compiler and C library, so that packed files may be
 * shared. want: the FNV-1a hash of the bytes; a change of a format changes it. */
static void check_bytes(int32_t dtype, uint64_t want) {
    enum { ROWS = 70, COLUMNS = 300 };
    size_t bytes = 0;
    uint64_t hash = 0xcbf29ce484222325u;
    float *weights = reserve(ROWS * COLUMNS * 4);
    random_state = 1;
    for (int i = 0; i < ROWS * COLUMNS; i++) weights[i] = normal() * 0.03f;
    q3t_tensor matrix = {.dtype = Q3T_F32, .dims = 2, .shape = {ROWS, COLUMNS}, .data = weights};
    if (q3t_pack_bytes(dtype, ROWS, COLUMNS, &bytes)) exit(2);
    unsigned char *packed = reserve(bytes);
    if (q3t_pack(&matrix, dtype, 0, (ROWS + Q3T_BLOCK - 1) / Q3T_BLOCK, packed)) exit(2);
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ packed[i]) * 0x100000001b3u;
    if (hash != want) {
        failures++;
        printf("FAILED dtype %d packs to other bytes: 0x%llx\n", dtype, (unsigned long long)hash);
    }
    free(packed);
    free(weights);
}

static void check(void) {
    static const int32_t shapes[][2] = {{1, 1}, {32, 64}, {33, 31}, {96, 256}, {64, 100}, {70, 1024}};
    q3t_kernels scalar, t;
    q3t_kernels_init(&scalar, 0);
    for (int m = 0; m < MACHINES; m++) {
        if (machines[m].mask & ~q3t_cpu_flags()) continue;
        q3t_kernels_init(&t, machines[m].mask);
        expect(!strcmp(t.linear_int8_isa, machines[m].name) && !strcmp(t.linear_int4_isa, machines[m].name), "table", machines[m].name, 0, 0, 0, 0);
        for (int32_t format = Q3T_FORMAT_INT8; format <= Q3T_FORMAT_INT4; format++)
            for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
                for (int32_t cols = 1; cols < 50; cols += cols < 9 ? 1 : cols / 2)
                    for (int kind = cols < 5 ? 0 : cols % 3, last = cols < 5 ? 2 : kind; kind <= last; kind++) {
                        problem p = make(format, shapes[s][0], shapes[s][1], cols, kind);
                        check_one(&t, &scalar, machines[m].name, &p);
                        if (kind == 0 && p.k >= 256 && cols > 2) check_error(&t, &p);
                        release(&p);
                    }
    }
}

static void bench_one(const q3t_kernels *t, const char *isa, const problem *p, int32_t cols, int32_t rows, const char *where) {
    unsigned char *act = reserve(q3t_act_bytes(p->k) * (size_t)p->cols);
    float *y = reserve((size_t)p->rows * p->cols * 4);
    double best = 1e9, end = seconds() + 0.15;
    prepare(t, p, act);
    do {
        double start = seconds();
        linear(t, p, act, 0, rows, cols, y);
        double spent = seconds() - start;
        best = spent < best ? spent : best;
    } while (seconds() < end);
    double bytes = (double)(rows / Q3T_BLOCK) * (double)q3t_quant_block_bytes(p->format, p->k);
    printf("%-12s int%d %5d x %d %-6s cols %2d %9.1f us %7.1f GB/s %7.1f GOP/s\n", isa, p->format == Q3T_FORMAT_INT8 ? 8 : 4, rows, p->k,
           where, cols, best * 1e6, bytes / best * 1e-9, 2.0 * rows * p->k * cols / best * 1e-9);
    free(act);
    free(y);
}

static void bench(void) {
    static const int32_t cols[] = {1, 2, 4, 8, 12, 40};
    q3t_kernels t;
    for (int32_t format = Q3T_FORMAT_INT8; format <= Q3T_FORMAT_INT4; format++) {
        double start = seconds();
        problem p = make(format, 40000 / 32 * 32, 3072, 40, 0);
        printf("made and packed in %.2f s\n", seconds() - start);
        for (int m = 1; m < MACHINES; m++) {
            if (machines[m].mask & ~q3t_cpu_flags()) continue;
            q3t_kernels_init(&t, machines[m].mask);
            for (size_t c = 0; c < sizeof cols / sizeof *cols; c++) bench_one(&t, machines[m].name, &p, cols[c], 256, "cached");
            bench_one(&t, machines[m].name, &p, 1, p.rows, "memory");
            double best = 1e9;
            unsigned char *act = reserve(q3t_act_bytes(p.k));
            for (int i = 0; i < 1000; i++) {
                double begin = seconds();
                (format == Q3T_FORMAT_INT8 ? t.prepare_int8 : t.prepare_int4)(act, p.x, p.k);
                best = seconds() - begin < best ? seconds() - begin : best;
            }
            printf("%-12s prepare %d: %.0f ns\n", machines[m].name, p.k, best * 1e9);
            free(act);
        }
        release(&p);
    }
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "--bench")) {
        bench();
        return 0;
    }
    check_layouts();
    check();
    check_packers();
    check_bytes(Q3T_INT8, 0x36bf9690d5dbd2f7u);
    check_bytes(Q3T_INT4, 0xb1a0dcde683560u);
    if (!failures) printf("check_quant: ok\n");
    return failures != 0;
}
