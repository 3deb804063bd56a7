/* check_kernels_rows.h - checks the kernels that work on elements and rows. Each tolerance follows from the inexact operations of
 * the kernel. */
#include "kernel_check.h"

/* A kernel that computes n elements y = f(a, b, c). */
typedef struct elementwise {
    const char *name;
    void (*run)(const q3t_kernels *k, float *y, const float *a, const float *b, const float *c, int32_t n);
    double (*tolerance)(double want, double a, double b, double c);
} elementwise;

#define IN_PLACE memcpy(y, a, (size_t)n * sizeof *y)
#define RUN(name) \
    static void run_##name(const q3t_kernels *k, float *y, const float *a, const float *b, const float *c, int32_t n)
RUN(silu_mul) { (void)c, k->silu_mul(y, a, b, n); }
RUN(silu_mul_in_place) { (void)c, IN_PLACE, k->silu_mul(y, y, b, n); }
RUN(silu) { (void)b, (void)c, IN_PLACE, k->silu(y, n); }
RUN(gelu) { (void)b, (void)c, IN_PLACE, k->gelu(y, n); }
RUN(elu) { (void)b, (void)c, k->elu(y, a, n); }
RUN(elu_in_place) { (void)b, (void)c, IN_PLACE, k->elu(y, y, n); }
RUN(snake) { k->snake(y, a, b, c, n, 1); }
RUN(snake_in_place) { IN_PLACE, k->snake(y, y, b, c, n, 1); }
RUN(add) { (void)c, IN_PLACE, k->add(y, b, n); }
RUN(add_scaled) { IN_PLACE, k->add_scaled(y, b, c, n); }
RUN(clamp) { (void)b, (void)c, IN_PLACE, k->clamp(y, n); }
RUN(exp) { (void)b, (void)c, k->exp_sum(y, a, n, 0.75f, 0.5f); }
RUN(add_bf16) {
    uint16_t *x = guarded((size_t)n * 2);
    (void)c, IN_PLACE;
    for (int32_t i = 0; i < n; i++) memcpy(&x[i], (const char *)&b[i] + 2, 2);
    k->add_bf16(y, x, n);
    check_release(check.used - 1);
}

/* Allows an error of 3 ulp in exp, and the roundings of one division and one product; exp is 0 below -87.3. */
static double near_silu(double want, double a, double b, double c) { return (void)a, (void)b, (void)c, 12 * ULP * fabs(want) + 1e-36; }
static double near_silu_mul(double want, double a, double b, double c) {
    return (void)a, (void)c, 14 * ULP * fabs(want) + 1e-36 * fabs(b) + 1e-36;
}
/* Allows an error of 3e-7 in erf, which is multiplied by x / 2; for |x| > 10 erf is exact. */
static double near_gelu(double want, double a, double b, double c) {
    return (void)b, (void)c, 4e-7 * fmin(fabs(a), 10) + 2 * ULP * fabs(want) + 1e-44;
}
/* Allows a relative error only, also near 0. */
static double near_elu(double want, double a, double b, double c) {
    return (void)a, (void)b, (void)c, 5 * ULP * fabs(want) + 1e-44;
}
/* Allows an error of 3e-6 in sin^2; if its argument is so large that it has no fraction, any value in 0 .. 1. */
static double near_snake(double want, double a, double b, double c) {
    return fabs(c) * (fabs(a * b) <= 1e4 ? 3e-6 : 1.000001) + 4 * ULP * (fabs(want) + fabs(a));
}
static double exact(double want, double a, double b, double c) { return (void)want, (void)a, (void)b, (void)c, 0; }
/* Allows two roundings; there is only one if multiplication and addition are fused. */
static double near_add_scaled(double want, double a, double b, double c) { return (void)want, 2 * ULP * (fabs(a) + fabs(b * c)) + 1e-44; }
static double near_exp(double want, double a, double b, double c) { return (void)a, (void)b, (void)c, 6 * ULP * want + 1.23e-38; }

static const elementwise elementwise_entries[] = {
    {"silu_mul", run_silu_mul, near_silu_mul}, {"silu_mul in place", run_silu_mul_in_place, near_silu_mul},
    {"silu", run_silu, near_silu}, {"gelu", run_gelu, near_gelu}, {"elu", run_elu, near_elu},
    {"elu in place", run_elu_in_place, near_elu}, {"snake", run_snake, near_snake},
    {"snake in place", run_snake_in_place, near_snake}, {"add", run_add, exact}, {"add_scaled", run_add_scaled, near_add_scaled},
    {"add_bf16", run_add_bf16, exact}, {"clamp", run_clamp, exact}, {"exp_sum", run_exp, near_exp},
};

static void check_elementwise_case(const q3t_kernels *k, const q3t_kernels *scalar, const elementwise *e, int32_t n, kind how) {
    float *a = guarded_floats(n), *b = guarded_floats(n), *c = guarded_floats(n);
    float *want = guarded_floats(n), *got = guarded_floats(n), *parts = guarded_floats(n);
    int ok = 1;
    numbers(a, n, how), numbers(b, n, how), numbers(c, n, how == EXTREME ? ORDINARY : how);
    if (how == EXTREME && n > 1) a[below(n)] = (float[]){NAN, INFINITY, -INFINITY}[below(3)];
    e->run(scalar, want, a, b, c, n);
    unwrite(got, n), unwrite(parts, n);
    e->run(k, got, a, b, c, n);
    for (int32_t i = 0; i < n; i++)
        ok &= close_to(got[i], want[i], e->tolerance(want[i], a[i], b[i], c[i])) && !is_unwritten(got[i]);
    expect(ok, "differs from scalar");
    int32_t at = below(n) + 1;
    e->run(k, parts, a, b, c, at);
    if (at < n) e->run(k, parts + at, a + at, b + at, c + at, n - at);
    expect(same(got, parts, n), "an element depends on where the range begins or ends");
    check_release(0);
}

static void check_elementwise(const q3t_kernels *k, const q3t_kernels *scalar, const char *isa) {
    for (size_t e = 0; e < sizeof elementwise_entries / sizeof *elementwise_entries; e++)
        for (int32_t n = 1; n <= 300; n += n < 70 ? 1 : 57)
            for (int how = 0; how < KINDS; how++) {
                snprintf(check.what, sizeof check.what, "%s %s n %d kind %d", isa, elementwise_entries[e].name, n, how);
                check_elementwise_case(k, scalar, &elementwise_entries[e], n, how);
            }
}

/* Check exp_sum, max and finite. */
static void check_reductions(const q3t_kernels *k, const q3t_kernels *scalar, const char *isa) {
    for (int32_t n = 1; n <= 300; n += n < 70 ? 1 : 57)
        for (int how = 0; how < KINDS; how++) {
            snprintf(check.what, sizeof check.what, "%s reductions n %d kind %d", isa, n, how);
            float *x = guarded_floats(n), *y = guarded_floats(n);
            numbers(x, n, how);
            float top = scalar->max(x, n);
            expect(k->max(x, n) == top, "max");
            expect(k->finite(x, n) == 1, "finite: all are");
            /* at most n / 4 + 8 roundings of a sum of positive terms, and the error of exp */
            float want = scalar->exp_sum(y, x, n, top, 0.7f), got = k->exp_sum(y, x, n, top, 0.7f);
            expect(close_to(got, want, want * (n / 4 + 16) * ULP), "exp_sum: sum");
            expect(same((float[]){k->exp_sum(x, x, n, top, 0.7f)}, &got, 1) && same(x, y, n), "exp_sum in place");
            int32_t at = below(n);
            numbers(x, n, how);
            x[at] = -INFINITY;
            got = k->exp_sum(y, x, n, fmaxf(scalar->max(x, n), 0), 1);
            expect(y[at] == 0 && isfinite(got), "exp_sum: minus infinity");
            expect(k->max(x, n) == scalar->max(x, n), "max with minus infinity");
            for (int32_t i = 0; i < n; i++) {
                numbers(x, n, how);
                x[i] = (float[]){NAN, INFINITY, -INFINITY}[i % 3];
                expect(k->finite(x, n) == 0, "finite: one is not");
                x[i] = i % 2 ? 0x1.fffffep127f : 1e-45f;
                expect(k->finite(x, n) == 1, "finite: the largest and the smallest are");
                x[i] = 2e18f;
                expect(k->max(x, n) == 2e18f, "max: one place");
            }
            check_release(0);
        }
}

static void check_norms(const q3t_kernels *k, const q3t_kernels *scalar, const char *isa) {
    for (int32_t n = 1; n <= 1100; n += n < 70 ? 1 : n < 300 ? 57 : 401)
        for (int how = 0; how < KINDS; how++) {
            snprintf(check.what, sizeof check.what, "%s norms n %d kind %d", isa, n, how);
            float *x = guarded_floats(n), *w = guarded_floats(n), *b = guarded_floats(n), *want = guarded_floats(n);
            float *got = guarded_floats(n);
            double squares = 0, mean = 0, largest = 0;
            int rms = 1, layer = 1;
            numbers(x, n, how), numbers(w, n, ORDINARY), numbers(b, n, ORDINARY);
            for (int32_t i = 0; i < n; i++) {
                if (fabsf(x[i]) > 1e15f) x[i] = 1e15f;  /* squares stay in range */
                mean += x[i] / (double)n, largest = fmax(largest, fabs(x[i]));
            }
            for (int32_t i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
            /* the roundings of a sum of n squares in at least 16 partial sums, of its root and of two products */
            double loss = (n / 16 + 12) * ULP, by = 1 / sqrt(squares / n + 1e-5);
            scalar->rmsnorm(want, x, w, n, 1e-6f), unwrite(got, n), k->rmsnorm(got, x, w, n, 1e-6f);
            for (int32_t i = 0; i < n; i++) rms &= close_to(got[i], want[i], loss * fabs(want[i]) + 1e-37) && !is_unwritten(got[i]);
            expect(rms, "rmsnorm differs from scalar");
            memcpy(want, x, (size_t)n * sizeof *x), k->rmsnorm(want, want, w, n, 1e-6f);
            expect(same(want, got, n), "rmsnorm in place");
            /* the mean has an error of (n / 4 + 4) ULP of the largest value, x - mean the same error, the variance its square */
            double off = (n / 4 + 4) * ULP * largest * by;
            scalar->layernorm(want, x, w, b, n, 1e-5f), unwrite(got, n), k->layernorm(got, x, w, b, n, 1e-5f);
            for (int32_t i = 0; i < n; i++) {
                double d = fabs(x[i] - mean) * by;
                layer &= close_to(got[i], want[i], fabs(w[i]) * (off + d * (loss + off * off)) + 4 * ULP * (fabs(b[i]) + fabs(w[i]) * d));
            }
            expect(layer, "layernorm differs from scalar");
            memcpy(want, x, (size_t)n * sizeof *x), k->layernorm(want, want, w, b, n, 1e-5f);
            expect(same(want, got, n), "layernorm in place");
            check_release(0);
        }
}

static void check_head_rope(const q3t_kernels *k, const q3t_kernels *scalar, const char *isa) {
    for (int32_t n = 1; n <= 256; n += n < 70 ? 1 : 31)
        for (int how = 0; how < 2 * KINDS; how++) {
            snprintf(check.what, sizeof check.what, "%s head_rope n %d kind %d", isa, n, how);
            const int32_t half = n / 2;
            float *want = guarded_floats(n), *got = guarded_floats(n), *w = guarded_floats(n);
            float *cosine = guarded_floats(half), *sine = guarded_floats(half);
            int ok = 1;
            numbers(want, n, how % KINDS), numbers(w, n, ORDINARY);
            for (int32_t i = 0; i < n; i++) want[i] = fabsf(want[i]) > 1e15f ? 1 : want[i];
            for (int32_t i = 0; i < half; i++) cosine[i] = cosf((float)i * 7), sine[i] = sinf((float)i * 7);
            memcpy(got, want, (size_t)n * sizeof *got);
            scalar->head_rope(want, how < KINDS ? w : NULL, cosine, sine, n, 1e-6f);
            k->head_rope(got, how < KINDS ? w : NULL, cosine, sine, n, 1e-6f);
            /* the errors are relative to the length of a pair, which a rotation keeps; the error of the norm is added */
            for (int32_t i = 0; i < half; i++) {
                double length = hypot(want[i], want[half + i]) * (n / 16 + 16) * ULP + 1e-37;
                ok &= close_to(got[i], want[i], length) && close_to(got[half + i], want[half + i], length);
            }
            if (n % 2) ok &= close_to(got[n - 1], want[n - 1], fabs(want[n - 1]) * (n / 16 + 12) * ULP + 1e-37);
            expect(ok, "differs from scalar");
            check_release(0);
        }
}

/* Check depthwise and snake. */
static void check_channels(const q3t_kernels *k, const q3t_kernels *scalar, const char *isa) {
    for (int32_t channels = 1; channels <= 200; channels += channels < 36 ? 1 : 41)
        for (int32_t taps = 1; taps <= 7; taps += 3)
            for (int how = 0; how < WIDE + 1; how++) {
                const int32_t rows = 1 + below(5);
                const size_t n = (size_t)rows * channels, all = n + (size_t)(taps - 1) * channels;
                snprintf(check.what, sizeof check.what, "%s rows %d of %d channels, %d taps", isa, rows, channels, taps);
                float *x = guarded_floats(all), *w = guarded_floats((size_t)taps * channels), *bias = guarded_floats(channels);
                float *want = guarded_floats(n), *got = guarded_floats(n), *one = guarded_floats(n);
                int ok = 1;
                numbers(x, all, how), numbers(w, (size_t)taps * channels, how), numbers(bias, channels, how);
                scalar->depthwise(want, x, w, bias, channels, taps, rows);
                unwrite(got, n), k->depthwise(got, x, w, bias, channels, taps, rows);
                for (int32_t r = 0; r < rows; r++) {
                    k->depthwise(one + (size_t)r * channels, x + (size_t)r * channels, w, bias, channels, taps, 1);
                    for (int32_t c = 0; c < channels; c++) {
                        double terms = fabs(bias[c]);  /* one rounding for each tap */
                        for (int32_t t = 0; t < taps; t++) terms += fabs((double)w[t * channels + c] * x[(r + t) * channels + c]);
                        ok &= close_to(got[r * channels + c], want[r * channels + c], (taps + 2) * ULP * terms);
                    }
                }
                expect(ok, "depthwise differs from scalar");
                expect(same(got, one, n), "depthwise depends on the rows asked for");
                unwrite(got, n), k->snake(got, x, w, bias, channels, rows);
                for (int32_t r = 0; r < rows; r++)
                    k->snake(one + (size_t)r * channels, x + (size_t)r * channels, w, bias, channels, 1);
                expect(same(got, one, n), "snake depends on the rows asked for");
                check_release(0);
            }
}
