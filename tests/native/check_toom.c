/* check_toom.c - checks Toom-Cook F(4, 7) (kernels/table.h): compares the input and output transforms of every instruction set with
 * the scalar transforms, and the whole algorithm with direct convolution. Arrays end at a page without access; a split of the rows
 * between two steps must not change a bit. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "codec/internal.h"
#include "kernel_check.h"

enum { TAPS = Q3T_TOOM_TAPS, OUT = Q3T_TOOM_OUT, POINTS = Q3T_TOOM_POINTS };

/* The largest coefficients of the transforms. Input transform: of the polynomials M(z) / (z - p) and M(z) (kernels/bodies/toom.h).
 * Output transform: the cube of the largest point. */
static const double IN_MOST = 16, OUT_MOST = 15.7;

static void check_in(const q3t_kernels *k, const q3t_kernels *scalar, int32_t channels, int32_t dilation, int32_t rows, kind how) {
    const size_t tiles = (size_t)q3t_toom_tiles(rows, dilation), ldu = channels + 3, ldp = tiles * ldu + 5, ldx = channels + 1;
    const size_t inputs = (size_t)(rows + (TAPS - 1) * dilation - 1) * ldx + channels, floats = (POINTS - 1) * ldp + (tiles - 1) * ldu + channels;
    float *x = guarded_floats(inputs), *want = guarded_floats(floats), *got = guarded_floats(floats), *parts = guarded_floats(floats);
    int ok = 1;
    snprintf(check.what, sizeof check.what, "%s toom_in %d channels, %d rows by %d", k->toom_in_isa, channels, rows, dilation);
    numbers(x, inputs, how);
    unwrite(want, floats), unwrite(got, floats), unwrite(parts, floats);
    scalar->toom_in(want, ldu, ldp, x, ldx, channels, dilation, rows);
    k->toom_in(got, ldu, ldp, x, ldx, channels, dilation, rows);
    for (size_t i = 0; i < floats; i++) {
        size_t tile = i % ldp / ldu, c = i % ldp % ldu;
        if (i % ldp >= tiles * ldu || c >= (size_t)channels) {
            ok &= is_unwritten(got[i]);
            continue;
        }
        int32_t step = (int32_t)tile / dilation, t = step * OUT * dilation + (int32_t)tile % dilation;
        double terms = 0;
        for (int32_t j = 0; j < POINTS && t + j * dilation < rows + (TAPS - 1) * dilation; j++)
            terms += fabs((double)x[(size_t)(t + j * dilation) * ldx + c]);
        ok &= close_to(got[i], want[i], terms * IN_MOST * 8 * ULP);
    }
    expect(ok, "differs from scalar, or wrote elsewhere");
    for (int32_t t = 0, n; t < rows; t += n) {
        n = OUT * dilation * (1 + below(3));
        if (n > rows - t) n = rows - t;
        k->toom_in(parts + (size_t)q3t_toom_tiles(t, dilation) * ldu, ldu, ldp, x + (size_t)t * ldx, ldx, channels, dilation, n);
    }
    expect(same(got, parts, floats), "depends on the rows of the call");
    check_release(0);
}

static void check_out(const q3t_kernels *k, const q3t_kernels *scalar, int32_t n, int32_t dilation, int32_t rows, kind how) {
    const size_t tiles = (size_t)q3t_toom_tiles(rows, dilation), ldy = n + 2, sums = tiles * POINTS * Q3T_BLOCK;
    const size_t outputs = (size_t)(rows - 1) * ldy + n;
    float *m = guarded_floats(sums), *bias = guarded_floats(n), *want = guarded_floats(outputs), *got = guarded_floats(outputs);
    int ok = 1;
    snprintf(check.what, sizeof check.what, "%s toom_out %d outputs, %d rows by %d", k->toom_out_isa, n, rows, dilation);
    numbers(m, sums, how), numbers(bias, n, how);
    unwrite(want, outputs), unwrite(got, outputs);
    scalar->toom_out(want, ldy, m, bias, n, dilation, rows);
    k->toom_out(got, ldy, m, bias, n, dilation, rows);
    for (size_t i = 0; i < outputs; i++) {
        int32_t t = (int32_t)(i / ldy), o = (int32_t)(i % ldy), in_step = t % (OUT * dilation);
        if (o >= n) {
            ok &= is_unwritten(got[i]);
            continue;
        }
        const float *at = m + (size_t)(t / (OUT * dilation) * dilation + in_step % dilation) * POINTS * Q3T_BLOCK + o;
        double terms = fabs((double)bias[o]);
        for (int32_t p = 0; p < POINTS; p++) terms += fabs((double)at[p * Q3T_BLOCK]);
        ok &= close_to(got[i], want[i], terms * OUT_MOST * 12 * ULP);
    }
    expect(ok, "differs from scalar, or wrote elsewhere");
    check_release(0);
}

/* Check the whole algorithm for one panel of `in` input channels; the reference is the direct convolution in double. */
static void check_whole(const q3t_kernels *k, const q3t_kernels *scalar, int32_t in, int32_t dilation, int32_t rows) {
    const int32_t tiles = q3t_toom_tiles(rows, dilation);
    const size_t point = (size_t)in * Q3T_BLOCK, ldp = (size_t)tiles * in;
    const float zero[Q3T_BLOCK] = {0};
    float *w = guarded_floats(TAPS * point), *at = guarded_floats(POINTS * point), *x = guarded_floats((size_t)(rows + (TAPS - 1) * dilation) * in);
    float *u = guarded_floats(POINTS * ldp), *m = guarded_floats((size_t)tiles * POINTS * Q3T_BLOCK), *bias = guarded_floats(Q3T_BLOCK);
    float *want = guarded_floats((size_t)rows * Q3T_BLOCK), *got = guarded_floats((size_t)rows * Q3T_BLOCK), taps[TAPS][Q3T_BLOCK];
    double signal = 0, noise = 0;
    numbers(w, TAPS * point, ORDINARY), numbers(x, (size_t)(rows + (TAPS - 1) * dilation) * in, ORDINARY), numbers(bias, Q3T_BLOCK, ORDINARY);
    for (int32_t i = 0; i < in; i++) {
        for (int32_t tap = 0; tap < TAPS; tap++) memcpy(taps[tap], w + tap * point + (size_t)i * Q3T_BLOCK, sizeof taps[tap]);
        q3t_toom_weights(at + (size_t)i * Q3T_BLOCK, point, (const float(*)[Q3T_BLOCK])taps);
    }
    k->toom_in(u, in, ldp, x, in, in, dilation, rows);
    for (int32_t p = 0; p < POINTS; p++) {
        q3t_conv product = {in, Q3T_BLOCK, 1, 1, at + p * point, zero, 0};
        k->conv(&product, u + p * ldp, in, m + p * Q3T_BLOCK, POINTS * Q3T_BLOCK, 0, tiles, 0, 1);
    }
    k->toom_out(got, Q3T_BLOCK, m, bias, Q3T_BLOCK, dilation, rows);
    q3t_conv direct = {in, Q3T_BLOCK, TAPS, dilation, w, bias, 0};
    scalar->conv(&direct, x, in, want, Q3T_BLOCK, 0, rows, 0, 1);
    for (size_t i = 0; i < (size_t)rows * Q3T_BLOCK; i++) {
        signal += (double)want[i] * want[i];
        noise += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
    }
    snprintf(check.what, sizeof check.what, "%s toom of %d channels, %d rows by %d", k->toom_in_isa, in, rows, dilation);
    expect(noise < signal * 1e-11, "less than 110 dB from the direct convolution");
    check_release(0);
}

int main(void) {
    static const struct { uint32_t mask; const char *name; } sets[] = {
        {0, "scalar"}, {Q3T_CPU_AVX2, "avx2"}, {Q3T_CPU_AVX2 | Q3T_CPU_AVX512, "avx512"}, {Q3T_CPU_NEON, "neon"}};
    static const int32_t dilations[] = {1, 2, 3, 9};
    q3t_kernels k, scalar;
    check_open();
    q3t_kernels_init(&scalar, 0);
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        if ((sets[i].mask & q3t_cpu_flags()) != sets[i].mask) continue;
        q3t_kernels_init(&k, sets[i].mask);
        const int before = check.failures;
        for (int32_t d = 0; d < 4; d++) {
            for (int32_t n = 1; n <= 40; n += n < 18 ? 1 : 5) check_in(&k, &scalar, n, dilations[d], 1 + below(90), n % 4 < 2 ? WIDE : ORDINARY);
            for (int32_t n = 1; n <= Q3T_BLOCK; n += n < 18 ? 1 : 5) check_out(&k, &scalar, n, dilations[d], 1 + below(90), n % 4 < 2 ? WIDE : ORDINARY);
            for (int32_t rows = 31; rows <= 40; rows += 3) check_whole(&k, &scalar, 20 + rows, dilations[d], rows);
        }
        printf("  %s: %s\n", sets[i].name, check.failures == before ? "ok" : "FAILED");
    }
    return check.failures != 0;
}
