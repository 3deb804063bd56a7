/* kernels/scalar/floats.c - the kernels on floats and bf16 in plain C: the reference that the other versions are checked against,
 * and the version for processors that can run no other. Sums are in double, so that a difference from another version is
 * the error of that version. */
#include "kernels/table.h"
#include "q3t.h"
#include <math.h>

static Q3T_PREPARE(prepare_f32) { memcpy(act, x, (size_t)k * sizeof *x); }

static Q3T_LINEAR(linear_f32) {
    for (int32_t c = 0; c < cols; c++) {
        const float *x = (const float *)((const char *)act + (size_t)c * q3t_act_bytes(m->k));
        for (int32_t r = row0; r < row1; r++) {
            const float *w = (const float *)m->data + (size_t)r * m->k;
            double sum = 0;
            for (int32_t i = 0; i < m->k; i++) sum += (double)w[i] * x[i];
            y[(size_t)c * ldy + r] = (float)sum;
        }
    }
}

static Q3T_PREPARE(prepare_bf16) { memcpy(act, x, (size_t)k * sizeof *x); }

static Q3T_LINEAR(linear_bf16) {
    for (int32_t c = 0; c < cols; c++) {
        const float *x = (const float *)((const char *)act + (size_t)c * q3t_act_bytes(m->k));
        for (int32_t r = row0; r < row1; r++) {
            const uint16_t *w = (const uint16_t *)m->data + (size_t)r * m->k;
            double sum = 0;
            for (int32_t i = 0; i < m->k; i++) sum += (double)q3t_widen(w[i]) * x[i];
            y[(size_t)c * ldy + r] = (float)sum;
        }
    }
}

static Q3T_CONV(conv) {
    size_t panel = (size_t)c->taps * c->in * Q3T_BLOCK;
    for (int32_t o = block0 * Q3T_BLOCK; o < block1 * Q3T_BLOCK && o < c->out; o++) {
        const float *w = c->w + o / Q3T_BLOCK * panel + o % Q3T_BLOCK;
        for (int32_t t = t0; t < t1; t++) {
            double sum = c->bias[o];
            for (int32_t tap = 0; tap < c->taps; tap++) {
                const float *row = x + (size_t)(t + tap * c->dilation) * ldx;
                for (int32_t i = 0; i < c->in; i++)
                    sum += (double)w[((size_t)tap * c->in + i) * Q3T_BLOCK] * row[i];
            }
            y[(size_t)t * ldy + o] = (float)sum;
        }
    }
}

/* The value at point p is the dot product of by[p] and the ten inputs of the tile. by[p] has the coefficients of a polynomial, the
 * constant first. Let M(z) = z * product over the four pairs of points +-q of (z^2 - q^2). The polynomial is M(z) / (z - z_p) for
 * the point z_p, and M(z) itself for the last point, infinity. */
static Q3T_TOOM_IN(toom_in) {
    static const double at[] = {0.375, 0.875, 1.25, 2.5};
    double by[Q3T_TOOM_POINTS][Q3T_TOOM_POINTS] = {{0}};
    for (int p = 0; p < Q3T_TOOM_POINTS; p++) {
        double *b = by[p], sign = p % 2 ? 1 : -1;
        int alone = p == 0 || p == Q3T_TOOM_POINTS - 1, of = (p - 1) / 2, first = p == 0 ? 0 : 1;
        b[first] = alone ? 1 : sign * at[of];
        if (!alone) b[first + 1] = 1;
        for (int q = 0; q < 4; q++)
            for (int i = Q3T_TOOM_POINTS - 1; (alone || q != of) && i >= 0; i--)
                b[i] = (i >= 2 ? b[i - 2] : 0) - at[q] * at[q] * b[i];
    }
    for (int32_t k = 0, first = 0; first < rows; first += Q3T_TOOM_OUT * dilation)
        for (int32_t t = first; t < first + dilation && t < rows; t++, k++)
            for (int32_t p = 0; p < Q3T_TOOM_POINTS; p++)
                for (int32_t c = 0; c < channels; c++) {
                    double sum = 0;
                    for (int32_t i = 0; i < Q3T_TOOM_POINTS; i++)
                        if (t + i * dilation < rows + (Q3T_TOOM_TAPS - 1) * dilation && by[p][i] != 0)
                            sum += by[p][i] * x[(size_t)(t + i * dilation) * ldx + c];
                    u[k * ldu + p * ldp + c] = (float)sum;
                }
}

/* Output row j of a tile is the sum of p^j * (product at p) over the finite points p; the last row also adds the product at
 * infinity. */
static Q3T_TOOM_OUT(toom_out) {
    static const double at[] = {0, 0.375, -0.375, 0.875, -0.875, 1.25, -1.25, 2.5, -2.5};
    for (int32_t first = 0; first < rows; first += Q3T_TOOM_OUT * dilation)
        for (int32_t c = first; c < first + dilation && c < rows; c++, m += Q3T_TOOM_POINTS * Q3T_BLOCK)
            for (int32_t j = 0, t = c; j < Q3T_TOOM_OUT && t < rows; j++, t += dilation)
                for (int32_t o = 0; o < n; o++) {
                    double sum = bias[o] + (j == Q3T_TOOM_OUT - 1 ? m[(Q3T_TOOM_POINTS - 1) * Q3T_BLOCK + o] : 0.0);
                    for (int32_t p = 0; p < Q3T_TOOM_POINTS - 1; p++) sum += pow(at[p], j) * m[p * Q3T_BLOCK + o];
                    y[(size_t)t * ldy + o] = (float)sum;
                }
}

static Q3T_DEPTHWISE(depthwise) {
    for (int32_t t = 0; t < rows; t++)
        for (int32_t c = 0; c < channels; c++) {
            double sum = bias[c];
            for (int32_t tap = 0; tap < taps; tap++)
                sum += (double)w[(size_t)tap * channels + c] * x[(size_t)(t + tap) * channels + c];
            y[(size_t)t * channels + c] = (float)sum;
        }
}

static Q3T_RMSNORM(rmsnorm) {
    double squares = 0;
    for (int32_t i = 0; i < n; i++) squares += (double)x[i] * x[i];
    float scale = (float)(1 / sqrt(squares / n + eps));
    for (int32_t i = 0; i < n; i++) y[i] = x[i] * scale * w[i];
}

static Q3T_LAYERNORM(layernorm) {
    double sum = 0, squares = 0;
    for (int32_t i = 0; i < n; i++) sum += x[i];
    double mean = sum / n;
    for (int32_t i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
    double scale = 1 / sqrt(squares / n + eps);
    for (int32_t i = 0; i < n; i++) y[i] = (float)((x[i] - mean) * scale * w[i] + b[i]);
}

/* If head_dim is odd, the last element has no partner and is not rotated. */
static Q3T_HEAD_ROPE(head_rope) {
    int32_t half = head_dim / 2;
    if (w) rmsnorm(x, x, w, head_dim, eps);
    for (int32_t i = 0; i < half; i++) {
        float a = x[i], b = x[half + i];
        x[i] = a * cos[i] - b * sin[i];
        x[half + i] = b * cos[i] + a * sin[i];
    }
}

static double cache_value(const void *p, size_t i, int bf16) {
    return (double)(bf16 ? q3t_widen(((const uint16_t *)p)[i]) : ((const float *)p)[i]);
}

static void attend_over(float *out, const float *q, const void *const *blocks, size_t at, int32_t block, int bf16, int32_t heads,
                        int32_t head_dim, int32_t first, int32_t count, float scale, float *scores) {
    const int32_t end = first + count;
    for (int32_t h = 0; h < heads; h++) {
        float largest = -INFINITY;
        double sum = 0;
        for (int32_t j = 0; j < count; j++) {
            const int32_t in = (first + j) % block;
            const size_t key = at + (size_t)(in / Q3T_KEYS) * head_dim * Q3T_KEYS + in % Q3T_KEYS;
            const void *memory = blocks[(first + j) / block];
            double dot = 0;
            for (int32_t d = 0; d < head_dim; d++) dot += q[h * head_dim + d] * cache_value(memory, key + (size_t)d * Q3T_KEYS, bf16);
            scores[j] = (float)dot * scale;
            largest = scores[j] > largest ? scores[j] : largest;
        }
        for (int32_t j = 0; j < count; j++) {
            scores[j] = expf(scores[j] - largest);
            sum += scores[j];
        }
        for (int32_t d = 0; d < head_dim; d++) {
            double mixed = 0;
            for (int32_t p = first; p < end;) { /* the positions of one block */
                const int32_t in = p % block, stop = end - p < block - in ? end : p + block - in;
                const void *memory = blocks[p / block];
                size_t row = at + ((size_t)block + in) * head_dim + d;
                for (; p < stop; p++, row += head_dim) mixed += scores[p - first] * cache_value(memory, row, bf16);
            }
            out[h * head_dim + d] = (float)(mixed / sum);
        }
    }
}

static Q3T_ATTEND(attend) { attend_over(out, q, blocks, at, block, 0, heads, head_dim, first, count, scale, scores); }

static Q3T_ATTEND(attend_bf16) { attend_over(out, q, blocks, at, block, 1, heads, head_dim, first, count, scale, scores); }

static Q3T_SILU_MUL(silu_mul) {
    for (int32_t i = 0; i < n; i++) y[i] = gate[i] / (1 + expf(-gate[i])) * up[i];
}

static Q3T_SILU(silu) {
    for (int32_t i = 0; i < n; i++) x[i] = x[i] / (1 + expf(-x[i]));
}

static Q3T_GELU(gelu) {
    for (int32_t i = 0; i < n; i++) x[i] = 0.5f * x[i] * (1 + erff(x[i] * 0.70710678f));
}

static Q3T_ELU(elu) {
    for (int32_t i = 0; i < n; i++) y[i] = x[i] > 0 ? x[i] : expm1f(x[i]);
}

static Q3T_SNAKE(snake) {
    for (int32_t r = 0; r < rows; r++)
        for (int32_t c = 0; c < channels; c++) {
            float v = x[(size_t)r * channels + c], s = sinf(v * alpha[c]);
            y[(size_t)r * channels + c] = v + inv_beta[c] * s * s;
        }
}

static Q3T_ADD(add) {
    for (int32_t i = 0; i < n; i++) y[i] += x[i];
}

static Q3T_ADD_SCALED(add_scaled) {
    for (int32_t i = 0; i < n; i++) y[i] += scale[i] * x[i];
}

static Q3T_ADD_BF16(add_bf16) {
    for (int32_t i = 0; i < n; i++) y[i] += q3t_widen(x[i]);
}

static Q3T_EXP_SUM(exp_sum) {
    double sum = 0;
    for (int32_t i = 0; i < n; i++) {
        y[i] = expf((x[i] - max) * scale);
        sum += y[i];
    }
    return (float)sum;
}

static Q3T_MAX(max) {
    float largest = x[0];
    for (int32_t i = 1; i < n; i++) largest = x[i] > largest ? x[i] : largest;
    return largest;
}

/* Not named finite: the math.h of some systems declares a function of that name. */
static Q3T_FINITE(all_finite) {
    for (int32_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return 0;
    return 1;
}

static Q3T_CLAMP(clamp) {
    for (int32_t i = 0; i < n; i++) x[i] = x[i] < -1 ? -1 : x[i] > 1 ? 1 : x[i];
}

static Q3T_SWEEP(sweep) {
    float largest[8] = {0};
    for (size_t i = 0; i < n; i += sizeof largest)
        for (int j = 0; j < 8; j++) {
            float x;
            memcpy(&x, (const char *)p + i + (size_t)j * 4, 4);
            largest[j] = x > largest[j] ? x : largest[j];
        }
    return max(largest, 8);
}

void q3t_kernels_init_scalar(q3t_kernels *k) {
    static const char isa[] = "scalar";
    Q3T_SET(k, prepare_f32, isa);
    Q3T_SET(k, linear_f32, isa);
    Q3T_SET(k, prepare_bf16, isa);
    Q3T_SET(k, linear_bf16, isa);
    Q3T_SET(k, conv, isa);
    Q3T_SET(k, toom_in, isa);
    Q3T_SET(k, toom_out, isa);
    Q3T_SET(k, depthwise, isa);
    Q3T_SET(k, rmsnorm, isa);
    Q3T_SET(k, layernorm, isa);
    Q3T_SET(k, head_rope, isa);
    Q3T_SET(k, attend, isa);
    Q3T_SET(k, attend_bf16, isa);
    Q3T_SET(k, silu_mul, isa);
    Q3T_SET(k, silu, isa);
    Q3T_SET(k, gelu, isa);
    Q3T_SET(k, elu, isa);
    Q3T_SET(k, snake, isa);
    Q3T_SET(k, add, isa);
    Q3T_SET(k, add_scaled, isa);
    Q3T_SET(k, add_bf16, isa);
    Q3T_SET(k, exp_sum, isa);
    Q3T_SET(k, max, isa);
    k->finite = all_finite;
    k->finite_isa = isa;
    Q3T_SET(k, clamp, isa);
    Q3T_SET(k, sweep, isa);
}
