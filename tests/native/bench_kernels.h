/* bench_kernels.h - `check_kernels --bench`: measures each kernel several times and prints the least time, on one thread, at the
 * shapes of the 0.6B model and its codec. */
#include "kernels/table.h"
#include "q3t.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds(void) {
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)(t.tv_sec % 100000) + 1e-9 * (double)t.tv_nsec;
}

/* Repeat `call` for about 0.1 s, at least three times. best: out, the least time of one repetition, in seconds. */
#define BENCH_BEST(best, call) \
    do { \
        double bench_end = seconds() + 0.1; \
        best = 1e30; \
        for (int bench_i = 0; bench_i < 3 || seconds() < bench_end; bench_i++) { \
            double bench_start = seconds(); \
            call; \
            double bench_time = seconds() - bench_start; \
            if (bench_time < best) best = bench_time; \
        } \
    } while (0)

static void *bench_buffer(size_t bytes) {
    float *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!p) exit(2);
    for (size_t i = 0; i < bytes / 4; i++) p[i] = 0.5f + (float)(i % 97) / 97;
    return p;
}

static void bench_line(const char *isa, const char *what, double best, double flops, double bytes) {
    printf("%-12s %-34s %12.0f ns %8.1f GFLOP/s %7.1f GB/s\n", isa, what, best * 1e9, flops / best * 1e-9, bytes / best * 1e-9);
}

static void bench_linear(const q3t_kernels *k, int32_t format, int32_t rows, int32_t length, int32_t cols, void *weights) {
    q3t_matrix m = {format, rows, length, weights};
    const char *isa = format == Q3T_FORMAT_F32 ? k->linear_f32_isa : k->linear_bf16_isa;
    double best, item = format == Q3T_FORMAT_F32 ? 4 : 2, products = (double)rows * length;
    float *x = bench_buffer((size_t)length * 4), *y = bench_buffer((size_t)rows * cols * 4);
    char *act = bench_buffer(q3t_act_bytes(length) * cols), what[80];
    for (int32_t c = 0; c < cols; c++)
        (format == Q3T_FORMAT_F32 ? k->prepare_f32 : k->prepare_bf16)(act + c * q3t_act_bytes(length), x, length);
    BENCH_BEST(best, (format == Q3T_FORMAT_F32 ? k->linear_f32 : k->linear_bf16)(&m, 0, rows, act, cols, y, rows));
    snprintf(what, sizeof what, "linear_%s %dx%d cols %d", format == Q3T_FORMAT_F32 ? "f32" : "bf16", rows, length, cols);
    bench_line(isa, what, best, 2 * products * cols, products * item);
    free(x), free(y), free(act);
}

static void bench_conv(const q3t_kernels *k, int32_t in, int32_t out, int32_t taps, int32_t dilation, int32_t times, int32_t pad) {
    const int32_t panels = (out + Q3T_BLOCK - 1) / Q3T_BLOCK, ldx = in + pad, before = (taps - 1) * dilation;
    size_t weights = (size_t)panels * taps * in * Q3T_BLOCK;
    float *w = bench_buffer(weights * 4), *bias = bench_buffer((size_t)panels * Q3T_BLOCK * 4);
    float *x = bench_buffer((size_t)(times + before) * ldx * 4), *y = bench_buffer((size_t)times * out * 4);
    q3t_conv c = {in, out, taps, dilation, w, bias, 0};
    double best;
    char what[80];
    BENCH_BEST(best, k->conv(&c, x, ldx, y, out, 0, times, 0, panels));
    snprintf(what, sizeof what, "conv %dx%dx%d dil %d t %d ldx %d", out, in, taps, dilation, times, ldx);
    bench_line(k->conv_isa, what, best, 2.0 * out * in * taps * times, (double)weights * 4);
    free(w), free(bias), free(x), free(y);
}

/* Attention to `count` positions, which lie in blocks of 64. */
static void bench_attend(const q3t_kernels *k, int32_t heads, int32_t head_dim, int32_t count) {
    enum { BLOCK = 64, BLOCKS = 64 };
    const void *blocks[BLOCKS];
    const int32_t n = (count + BLOCK - 1) / BLOCK;
    float *q = bench_buffer((size_t)heads * head_dim * 4), *out = bench_buffer((size_t)heads * head_dim * 4);
    char *cache = bench_buffer((size_t)n * 2 * BLOCK * head_dim * 4);
    float *scores = bench_buffer((size_t)heads * (count + 2 * Q3T_KEYS) * 4);
    double best;
    char what[80];
    for (int32_t i = 0; i < n; i++) blocks[i] = cache + (size_t)i * 2 * BLOCK * head_dim * 4;
    BENCH_BEST(best, k->attend(out, q, blocks, 0, BLOCK, heads, head_dim, 0, count, 0.1f, scores));
    snprintf(what, sizeof what, "attend %d heads of %d, %d keys", heads, head_dim, count);
    bench_line(k->attend_isa, what, best, 4.0 * heads * head_dim * count, 8.0 * head_dim * count);
    BENCH_BEST(best, k->attend_bf16(out, q, blocks, 0, BLOCK, heads, head_dim, 0, count, 0.1f, scores));
    snprintf(what, sizeof what, "attend_bf16 %d heads of %d, %d keys", heads, head_dim, count);
    bench_line(k->attend_bf16_isa, what, best, 4.0 * heads * head_dim * count, 4.0 * head_dim * count);
    free(q), free(out), free(cache), free(scores);
}

/* Measure the other kernels on N floats in 16 rows; counts one operation for each element. */
static void bench_rows(const q3t_kernels *k) {
    enum { CHANNELS = 1024, ROWS = 16, N = CHANNELS * ROWS };
    float *x = bench_buffer((N + 6 * CHANNELS) * 4), *y = bench_buffer(N * 4), *w = bench_buffer(7 * CHANNELS * 4);
    uint16_t *half = bench_buffer(N * 2);
    void *act = bench_buffer(q3t_act_bytes(N));
    volatile float sink;
    double best;
/* x and y are set again for each kernel, because some kernels work in place */
#define BENCH_ROWS(entry, call) \
    for (int i = 0; i < N; i++) x[i] = y[i] = (float)(i % 97) / 97 - 0.5f; \
    BENCH_BEST(best, call); \
    bench_line(k->entry##_isa, #entry, best, N, 4 * N)
    BENCH_ROWS(prepare_f32, k->prepare_f32(act, x, N));
    BENCH_ROWS(prepare_bf16, k->prepare_bf16(act, x, N));
    BENCH_ROWS(depthwise, k->depthwise(y, x, w, w, CHANNELS, 7, ROWS));
    BENCH_ROWS(rmsnorm, for (int r = 0; r < ROWS; r++) k->rmsnorm(y, x + r * CHANNELS, w, CHANNELS, 1e-6f));
    BENCH_ROWS(layernorm, for (int r = 0; r < ROWS; r++) k->layernorm(y, x + r * CHANNELS, w, w, CHANNELS, 1e-6f));
    BENCH_ROWS(head_rope, for (int r = 0; r < N / 128; r++) k->head_rope(y + r * 128, w, w, w, 128, 1e-6f));
    BENCH_ROWS(silu_mul, k->silu_mul(y, x, x, N));
    BENCH_ROWS(silu, k->silu(y, N));
    BENCH_ROWS(gelu, k->gelu(y, N));
    BENCH_ROWS(elu, k->elu(y, x, N));
    BENCH_ROWS(snake, k->snake(y, x, w, w, CHANNELS, ROWS));
    BENCH_ROWS(add, k->add(y, x, N));
    BENCH_ROWS(add_scaled, k->add_scaled(y, x, x, N));
    BENCH_ROWS(add_bf16, k->add_bf16(y, half, N));
    BENCH_ROWS(exp_sum, sink = k->exp_sum(y, x, N, 2, 0.5f));
    BENCH_ROWS(max, sink = k->max(x, N));
    BENCH_ROWS(finite, sink = (float)k->finite(x, N));
    BENCH_ROWS(clamp, k->clamp(y, N));
#undef BENCH_ROWS
    (void)sink;
    free(x), free(y), free(w), free(half), free(act);
}

static void bench(const q3t_kernels *k) {
    static const int32_t cols[] = {1, 2, 4, 8, 12, 32, 40};
    const int slow = !strcmp(k->conv_isa, "scalar");
    void *big = bench_buffer((size_t)51200 * 2048 * 2);
    bench_linear(k, Q3T_FORMAT_BF16, 51200, 2048, 1, big);
    for (size_t i = 0; i < sizeof cols / sizeof *cols && !(slow && i > 3); i++) {
        bench_linear(k, Q3T_FORMAT_BF16, 1024, 1024, cols[i], big);
        bench_linear(k, Q3T_FORMAT_BF16, 1024, 6144, cols[i], big);
        bench_linear(k, Q3T_FORMAT_F32, 1024, 1024, cols[i], big);
    }
    bench_linear(k, Q3T_FORMAT_BF16, 2048, 2048, slow ? 3 : 300, big);
    free(big);
    bench_conv(k, 768, 768, 7, 1, slow ? 1 : 32, 0);
    bench_conv(k, 768, 768, 7, 9, slow ? 1 : 32, 16);
    bench_conv(k, 1024, 1536, 7, 1, slow ? 1 : 4, 0);
    bench_conv(k, 1024, 1536, 7, 1, slow ? 1 : 16, 0);
    bench_conv(k, 1024, 1536, 7, 1, slow ? 1 : 16, 16);
    bench_conv(k, 96, 96, 7, 3, slow ? 10 : 480, 0);
    bench_conv(k, 96, 96, 1, 1, slow ? 10 : 480, 0);
    bench_conv(k, 96, 1, 7, 1, slow ? 10 : 480, 0);
    for (int32_t count = 256; count <= 4096; count *= 4) bench_attend(k, 2, 128, count);
    bench_attend(k, 1, 64, 72);
    bench_rows(k);
}
