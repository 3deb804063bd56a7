/* kernels/table.h - the kernels of the engine: their signatures, and the table that holds one pointer for each. The layouts of
 * the matrices that they read are in kernels/formats.h.
 *
 * A kernel is a pure function that computes a range of its output: it allocates nothing, starts no threads, does no input or
 * output and keeps no state. A macro declares each signature once; the pointer in the table and every definition use the macro.
 * The signatures share some parameter names: ldx and ldy are the floats from one row (or column) of x or y to the next; eps is
 * added to a mean square or variance before the root. Arrays need only the alignment of their element type unless a comment says
 * more.
 * The order in which the terms of an output element are summed does not depend on the range, the number of rows or columns in
 * the call, or the thread. So the work may be split in any way and the result has the same bits.
 * The code in kernels/scalar/ defines what each entry computes. */
#ifndef Q3T_KERNELS_H
#define Q3T_KERNELS_H
#include "kernels/formats.h"
#include <string.h>

/* A causal convolution of x (rows, in): y[t][o] = bias[o] + sum over tap and i of weight[o][tap][i] * x[t + tap * dilation][i].
 * A panel is the weights of Q3T_BLOCK outputs. w: the panels, (ceil(out / Q3T_BLOCK), taps, in, Q3T_BLOCK) f32, 64-byte aligned, 0
 * for outputs >= `out`. bias: (ceil(out / Q3T_BLOCK) * Q3T_BLOCK,) f32, padded with 0. */
typedef struct q3t_conv {
    int32_t in, out, taps, dilation;
    const float *w, *bias;
    int32_t points;         /* 0: as above. Q3T_TOOM_POINTS: w is (panels, points, in, Q3T_BLOCK), the weights for Toom-Cook */
} q3t_conv;

/* Toom-Cook F(4, 7): four outputs of a convolution of seven taps from ten products instead of 28. Output rows are cut into
 * steps of 4 * dilation rows; the last step may be shorter. Tile c of a step makes the four rows c + j * dilation, 0 <= j < 4, of
 * the step from ten input rows. toom_in transforms the input rows of each tile to values at ten points. At each point the values
 * are multiplied by the panel of that point, as in a convolution of one tap. toom_out transforms the ten products of a tile to its
 * four output rows.
 * Points: 0, +-0.375, +-0.875, +-1.25, +-2.5, infinity. Of the fractions with few bits, these have the least rounding error. */
enum { Q3T_TOOM_TAPS = 7, Q3T_TOOM_OUT = 4, Q3T_TOOM_POINTS = Q3T_TOOM_TAPS + Q3T_TOOM_OUT - 1 };
#define Q3T_TOOM_PAIRS(X) X(0.375f, 0.875f, 1.25f, 2.5f) X(0.875f, 0.375f, 1.25f, 2.5f) \
    X(1.25f, 0.375f, 0.875f, 2.5f) X(2.5f, 0.375f, 0.875f, 1.25f) /* X(a point, the other three) */
/* Returns the number of tiles that make `rows` output rows. */
static inline int32_t q3t_toom_tiles(int32_t rows, int32_t dilation) {
    int32_t rest = rows % (Q3T_TOOM_OUT * dilation);
    return rows / (Q3T_TOOM_OUT * dilation) * dilation + (rest < dilation ? rest : dilation);
}

/* ---- Signatures */

/* Convert the column x (k,) to the prepared column act, for the linear kernel of the same format (kernels/formats.h). act:
 * q3t_act_bytes(k) bytes, 64-byte aligned. */
#define Q3T_PREPARE(name) void name(void *act, const float *x, int32_t k)
/* Multiply rows [row0, row1) of m by columns: y[c * ldy + r] = dot(row r of m, column c), 0 <= c < cols. act: `cols` prepared
 * columns, q3t_act_bytes(m->k) bytes apart. linear_coded reads columns of prepare_bf16 and gives the bits that linear_bf16 gives
 * for the same weights in bf16. */
#define Q3T_LINEAR(name) \
    void name(const q3t_matrix *m, int32_t row0, int32_t row1, const void *act, int32_t cols, float *y, size_t ldy)
/* Convolution c: y[t * ldy + o] for rows t in [t0, t1) and outputs o < c->out of the panels [block0, block1). Row t of the input
 * begins at x + t * ldx. Order of the sum: bias, then tap by tap, input by input. */
#define Q3T_CONV(name) \
    void name(const q3t_conv *c, const float *x, size_t ldx, float *y, size_t ldy, int32_t t0, int32_t t1, int32_t block0, \
              int32_t block1)
/* Toom-Cook, input transform of the tiles that make `rows` output rows. Input row t, (channels,), is at x + t * ldx for
 * t < rows + 6 * dilation; later rows count as 0. The values of tile k at point p, (channels,), go to u + k * ldu + p * ldp. */
#define Q3T_TOOM_IN(name) \
    void name(float *u, size_t ldu, size_t ldp, const float *x, size_t ldx, int32_t channels, int32_t dilation, int32_t rows)
/* Toom-Cook, output transform: n <= Q3T_BLOCK outputs of each of `rows` output rows; row t goes to y + t * ldy. m: the products,
 * (tiles, Q3T_TOOM_POINTS, Q3T_BLOCK); bias: (n,). */
#define Q3T_TOOM_OUT(name) \
    void name(float *y, size_t ldy, const float *m, const float *bias, int32_t n, int32_t dilation, int32_t rows)
/* Depthwise convolution: y[t][c] = bias[c] + sum over tap of w[tap][c] * x[t + tap][c]. Shapes: y (rows, channels), x (rows + taps
 * - 1, channels), w (taps, channels), bias (channels,). y and x do not overlap. */
#define Q3T_DEPTHWISE(name) \
    void name(float *y, const float *x, const float *w, const float *bias, int32_t channels, int32_t taps, int32_t rows)
/* In the kernels that follow, vectors have n elements unless a comment says more. */
/* y = x * rsqrt(mean(x^2) + eps) * w; y may be x. */
#define Q3T_RMSNORM(name) void name(float *y, const float *x, const float *w, int32_t n, float eps)
/* y = (x - mean(x)) * rsqrt(var(x) + eps) * w + b, where var is the population variance; y may be x. */
#define Q3T_LAYERNORM(name) void name(float *y, const float *x, const float *w, const float *b, int32_t n, float eps)
/* Change one head x (head_dim,) in place: RMS norm with weight w (head_dim,), unless w is NULL; then the rotary embedding, which
 * replaces element a of the first half and b of the second half by a cos - b sin and b cos + a sin. cos, sin: (head_dim / 2,). */
#define Q3T_HEAD_ROPE(name) void name(float *x, const float *w, const float *cos, const float *sin, int32_t head_dim, float eps)
/* Attention of one position to the cached positions [first, first + count) of one KV head: out = softmax(scale * q k^T) v. q and
 * out: (heads, head_dim), the query heads that share the KV head. blocks[i]: the memory of the positions [i * block, (i + 1) *
 * block), where block is a multiple of Q3T_KEYS. At element `at` of this memory are the keys of the head, (block / Q3T_KEYS,
 * head_dim, Q3T_KEYS), then its values, (block, head_dim); all of them must be readable. attend: the elements are floats;
 * attend_bf16: bf16, and the result has the bits that `attend` gives for the same numbers. The blocks do not change the result.
 * scores: scratch of heads * (count + 2 * Q3T_KEYS) floats. */
#define Q3T_ATTEND(name) \
    void name(float *out, const float *q, const void *const *blocks, size_t at, int32_t block, int32_t heads, int32_t head_dim, \
              int32_t first, int32_t count, float scale, float *scores)
/* y = silu(gate) * up; y may be gate. */
#define Q3T_SILU_MUL(name) void name(float *y, const float *gate, const float *up, int32_t n)
/* x = silu(x). */
#define Q3T_SILU(name) void name(float *x, int32_t n)
/* x = gelu(x) = x * Phi(x), with the error function, not the approximation by tanh. */
#define Q3T_GELU(name) void name(float *x, int32_t n)
/* y = x where x > 0, else exp(x) - 1; y may be x. */
#define Q3T_ELU(name) void name(float *y, const float *x, int32_t n)
/* y[r][c] = x[r][c] + inv_beta[c] * sin(x[r][c] * alpha[c])^2. x, y: (rows, channels); alpha, inv_beta: (channels,). y may be x. */
#define Q3T_SNAKE(name) void name(float *y, const float *x, const float *alpha, const float *inv_beta, int32_t channels, int32_t rows)
/* y += x. */
#define Q3T_ADD(name) void name(float *y, const float *x, int32_t n)
/* y += scale * x, element by element. */
#define Q3T_ADD_SCALED(name) void name(float *y, const float *x, const float *scale, int32_t n)
/* y += x; x is in bf16. */
#define Q3T_ADD_BF16(name) void name(float *y, const uint16_t *x, int32_t n)
/* y[i] = exp((x[i] - max) * scale); returns the sum of y. x[i] = -inf gives 0; y may be x. */
#define Q3T_EXP_SUM(name) float name(float *y, const float *x, int32_t n, float max, float scale)
/* Returns the largest element of x, n >= 1; undefined if x has a NaN. */
#define Q3T_MAX(name) float name(const float *x, int32_t n)
/* Returns 1 if all elements of x are finite, else 0. */
#define Q3T_FINITE(name) int32_t name(const float *x, int32_t n)
/* Reads n bytes at p in order, n a multiple of 1024, to measure the bandwidth of memory. Returns the largest of the floats read:
 * a result that needs every read, so that the compiler leaves none out. */
#define Q3T_SWEEP(name) float name(const void *p, size_t n)
/* x = min(max(x, -1), 1); NaN stays NaN. */
#define Q3T_CLAMP(name) void name(float *x, int32_t n)

/* ---- The table: X(entry, signature) for each entry. The struct, q3t_kernels_text and the overlays are made from this list. */
#define Q3T_KERNEL_TABLE(X) \
    X(prepare_f32, PREPARE) X(linear_f32, LINEAR) X(prepare_bf16, PREPARE) X(linear_bf16, LINEAR) \
    X(prepare_int8, PREPARE) X(linear_int8, LINEAR) X(prepare_int4, PREPARE) X(linear_int4, LINEAR) \
    X(linear_coded, LINEAR) X(conv, CONV) X(toom_in, TOOM_IN) X(toom_out, TOOM_OUT) X(depthwise, DEPTHWISE) \
    X(rmsnorm, RMSNORM) X(layernorm, LAYERNORM) X(head_rope, HEAD_ROPE) X(attend, ATTEND) \
    X(attend_bf16, ATTEND) X(silu_mul, SILU_MUL) X(silu, SILU) X(gelu, GELU) X(elu, ELU) X(snake, SNAKE) \
    X(add, ADD) X(add_scaled, ADD_SCALED) X(add_bf16, ADD_BF16) X(exp_sum, EXP_SUM) X(max, MAX) X(finite, FINITE) \
    X(clamp, CLAMP) X(sweep, SWEEP)

/* Each entry, then `<entry>_isa`: the name of the overlay ("scalar", "avx2", ...) that filled it. */
#define Q3T_KERNEL_FIELD(entry, SIGNATURE) Q3T_##SIGNATURE((*entry)); const char *entry##_isa;
typedef struct q3t_kernels { Q3T_KERNEL_TABLE(Q3T_KERNEL_FIELD) } q3t_kernels;
#define Q3T_SET(table, entry, isa) ((table)->entry = entry, (table)->entry##_isa = (isa))

/* Fill the table: the scalar kernels, then every overlay that `flags` (bits of q3t_cpu) allow; a later overlay replaces entries of
 * an earlier one. */
void q3t_kernels_init(q3t_kernels *k, uint32_t flags);
/* Each of these functions applies one overlay: it sets the entries that the overlay has. */
void q3t_kernels_init_scalar(q3t_kernels *k);
void q3t_kernels_init_scalar_quant(q3t_kernels *k);
void q3t_kernels_init_scalar_coded(q3t_kernels *k);
void q3t_kernels_init_avx2(q3t_kernels *k);
void q3t_kernels_init_avx512(q3t_kernels *k);
void q3t_kernels_init_avx512_vnni(q3t_kernels *k);
void q3t_kernels_init_neon(q3t_kernels *k);
void q3t_kernels_init_neon_dotprod(q3t_kernels *k);
void q3t_kernels_init_neon_i8mm(q3t_kernels *k);
void q3t_kernels_init_neon_bf16(q3t_kernels *k);

/* Pack one INT4 group, x (Q3T_GROUP_INT4 inputs, Q3T_BLOCK rows), with its scales into `out`, which has
 * q3t_quant_group_bytes(Q3T_FORMAT_INT4) bytes. A row with a value that is not finite gets the scale NaN. */
typedef void q3t_int4_packer(const float (*x)[Q3T_BLOCK], uint8_t *out);
q3t_int4_packer q3t_int4_pack_scalar, q3t_int4_pack_avx2;
/* Returns the fastest packer that `flags` (bits of q3t_cpu) allow; all give the same bytes. */
q3t_int4_packer *q3t_int4_packer_for(uint32_t flags);

/* bf16 to float. */
static inline float q3t_widen(uint16_t h) {
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

/* float to the nearest bf16, ties to even; NaN stays NaN. */
static inline uint16_t q3t_narrow(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    return f == f ? (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16) : Q3T_NAN_BF16;
}
#endif
