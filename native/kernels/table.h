/* kernels/table.h - every hot loop of the engine, behind one table.
 *
 * A kernel is a pure function on a range of its output: no allocation, no I/O,
 * no threads, no state. Each signature is declared once, by a macro that gives
 * the pointer type and every definition. Pointers need no alignment unless said.
 * Every output element has a summation order that depends on the element's own
 * inputs alone: never on the range asked for, the number of columns or rows in
 * the call, or the thread. So any split of the work gives the same bits.
 * kernels/scalar/floats.c is the readable spec of each entry. */
#ifndef Q3T_KERNELS_H
#define Q3T_KERNELS_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { Q3T_BLOCK = 32,     /* outputs in one panel of packed weights */
       Q3T_KEYS = 16 };    /* positions in one block of the key cache */

/* Formats of a matrix of the language models. */
typedef enum q3t_format { Q3T_FORMAT_F32, Q3T_FORMAT_BF16, Q3T_FORMAT_INT8, Q3T_FORMAT_INT4, Q3T_FORMAT_CODED } q3t_format;

/* Packed formats, INT8 and INT4: blocks of Q3T_BLOCK rows, the last one filled up with zeros, each a run of groups of
 * consecutive inputs, the last one likewise. A byte row is what Q3T_BLOCK rows hold of four inputs: row r in bytes 4 r .. 4 r + 3.
 *   INT8: groups of 64: 16 byte rows of w + 128, -127 <= w <= 127. After the last group Q3T_BLOCK f32: the rows' scales.
 *   INT4: groups of 32: 4 byte rows of w + 8, -8 <= w <= 7, inputs 8 j .. 8 j + 3 in the low half of a byte, the next four in
 *         the high half; then the group's scales, bf16: that of row r in 16-bit word 2 r, of row r + 16 in 2 r + 1.
 * A column meets them in the same groups, each scaled so that its largest is 127. y = row scale * sum over the groups, from
 * the first to the last, of (float)(integer sum) * scale, each a fused multiply-add; INT4: scale = weights' * column's. */
enum { Q3T_GROUP_INT8 = 64, Q3T_GROUP_INT4 = 32 };
typedef struct q3t_group {  /* of a prepared column: its k bytes, filled up, are followed by one for each group */
    float scale;            /* NaN if the group is not finite */
    int32_t start;          /* - offset of the weights * sum of the bytes */
} q3t_group;
#define Q3T_INFINITY_BITS 0x7f800000
#define Q3T_NAN_BF16 0x7fc0
#define Q3T_SMALLEST_GROUP 1e-30f  /* a group of less is zero: its inverse might not be finite */

/* CODED: bf16 in 12 bits, without loss: the low byte as it is, the high byte (sign and all but one bit of the exponent) as one
 * of the 16 that are most frequent among Q3T_CODED_ROWS rows. A block of them is
 *   16 high bytes; the exceptions, of increasing place, and Q3T_CODED_END, each input / 128 << 18 | row << 15 |
 *   input % 128 << 8 | high byte, uint32; filled up to q3t_coded_head(k) bytes;
 *   then for each 128 inputs, the last ones filled up, for each row 128 low bytes and 64 codes: input i has its low byte at
 *   place q3t_coded_place(i), its code at that place % 64, in the low half of the byte for the first 64.
 * The places are such that low and high bytes which are interleaved by 16 come out in the order of the inputs. */
enum { Q3T_CODED_ROWS = 8, Q3T_CODED_STEP = 128, Q3T_CODED_ROW_BYTES = Q3T_CODED_STEP / 2 * 3 };
#define Q3T_CODED_END 0xffffffffu

/* rows x k weights; F32 and BF16: row-major, straight from the checkpoint, any alignment of 2 or 4 bytes; packed: 64-byte aligned. */
typedef struct q3t_matrix {
    int32_t format, rows, k;
    const void *data;
} q3t_matrix;

/* A causal convolution over channel-last rows: y[t][o] = bias[o] + sum over tap, i of w[o][tap][i] * x[t + tap * dilation][i].
 * w: [ceil(out / Q3T_BLOCK)][taps][in][Q3T_BLOCK] f32, 64-byte aligned, zero beyond `out`; bias: padded likewise. */
typedef struct q3t_conv {
    int32_t in, out, taps, dilation;
    const float *w, *bias;
    int32_t points;         /* 0; or Q3T_TOOM_POINTS: w is [panel][point][in][Q3T_BLOCK], for toom_in and toom_out */
} q3t_conv;

/* Toom-Cook F(4, 7): four outputs of a convolution of seven taps from ten products instead of 28. Rows are cut in steps of
 * 4 * dilation, the last one shorter; tile c of a step makes its rows c, c + dilation, .. The products of a tile's ten inputs,
 * toom_in, with the panels are a matrix product at each point, whose results toom_out brings together.
 * Points: 0, +-a, +-b, +-c, +-d, infinity. These four have the least error among fractions of few bits. */
enum { Q3T_TOOM_TAPS = 7, Q3T_TOOM_OUT = 4, Q3T_TOOM_POINTS = Q3T_TOOM_TAPS + Q3T_TOOM_OUT - 1 };
#define Q3T_TOOM_PAIRS(X) X(0.375f, 0.875f, 1.25f, 2.5f) X(0.875f, 0.375f, 1.25f, 2.5f) \
    X(1.25f, 0.375f, 0.875f, 2.5f) X(2.5f, 0.375f, 0.875f, 1.25f) /* the point, and the other three */
static inline int32_t q3t_toom_tiles(int32_t rows, int32_t dilation) {
    int32_t rest = rows % (Q3T_TOOM_OUT * dilation);
    return rows / (Q3T_TOOM_OUT * dilation) * dilation + (rest < dilation ? rest : dilation);
}

/* Bytes of one prepared activation column of length k: enough for every format and ISA; a multiple of 64. */
static inline size_t q3t_act_bytes(int32_t k) { return ((size_t)k * 4 + 63) / 64 * 64 + ((size_t)k / 32 * 8 + 127) / 64 * 64; }

/* Bytes of one group of Q3T_BLOCK rows, with its scales, and of all groups of them. */
static inline size_t q3t_group_bytes(int32_t format) {
    return format == Q3T_FORMAT_INT8 ? Q3T_GROUP_INT8 * Q3T_BLOCK : Q3T_GROUP_INT4 / 2 * Q3T_BLOCK + 2 * Q3T_BLOCK;
}
static inline size_t q3t_block_bytes(int32_t format, int32_t k) {
    size_t group = format == Q3T_FORMAT_INT8 ? Q3T_GROUP_INT8 : Q3T_GROUP_INT4;
    return ((size_t)k + group - 1) / group * q3t_group_bytes(format) + (format == Q3T_FORMAT_INT8 ? 4 * Q3T_BLOCK : 0);
}

/* Exceptions that one block of rows may have, the bytes before its weights, and all its bytes. */
static inline size_t q3t_coded_steps(int32_t k) { return ((size_t)k + Q3T_CODED_STEP - 1) / Q3T_CODED_STEP; }
static inline size_t q3t_coded_exceptions(int32_t k) { return 4 * q3t_coded_steps(k) + 10; }
static inline size_t q3t_coded_head(int32_t k) { return (16 + 4 * (q3t_coded_exceptions(k) + 1) + 63) / 64 * 64; }
static inline size_t q3t_coded_bytes(int32_t k) {
    return q3t_coded_head(k) + q3t_coded_steps(k) * Q3T_CODED_ROWS * Q3T_CODED_ROW_BYTES;
}
static inline int q3t_coded_place(int i) { return i / 64 * 64 + i % 32 / 8 * 16 + i % 64 / 32 * 8 + i % 8; }

/* Bring x (k,) into the form that the linear kernel of the same format reads. act: 64-byte aligned. */
#define Q3T_PREPARE(name) void name(void *act, const float *x, int32_t k)
/* y[c * ldy + r] = dot(row r of m, column c) for r in [row0, row1), c in [0, cols).
 * act: `cols` prepared columns, q3t_act_bytes(k) apart. linear_coded takes those of prepare_bf16 and gives the bits of
 * linear_bf16. */
#define Q3T_LINEAR(name) \
    void name(const q3t_matrix *m, int32_t row0, int32_t row1, const void *act, int32_t cols, float *y, size_t ldy)
/* y[t * ldy + o] for t in [t0, t1) and the outputs of panels [block0, block1) that are below c->out; x row t at x + t * ldx.
 * Sum order: bias, then taps, then inputs. */
#define Q3T_CONV(name) \
    void name(const q3t_conv *c, const float *x, size_t ldx, float *y, size_t ldy, int32_t t0, int32_t t1, int32_t block0, \
              int32_t block1)
/* The tiles of `rows` rows of output: tile k, point p at u + k * ldu + p * ldp. x: as for conv, row t at x + t * ldx;
 * rows from `rows` + 6 * dilation on count as zeros. */
#define Q3T_TOOM_IN(name) \
    void name(float *u, size_t ldu, size_t ldp, const float *x, size_t ldx, int32_t channels, int32_t dilation, int32_t rows)
/* Those rows, n <= Q3T_BLOCK outputs of each, row t at y + t * ldy. m: (tiles, Q3T_TOOM_POINTS, Q3T_BLOCK). */
#define Q3T_TOOM_OUT(name) \
    void name(float *y, size_t ldy, const float *m, const float *bias, int32_t n, int32_t dilation, int32_t rows)
/* Depthwise: y[t][c] = bias[c] + sum over tap of w[tap][c] * x[t + tap][c]; rows of `channels` floats, y and x apart. */
#define Q3T_DEPTHWISE(name) \
    void name(float *y, const float *x, const float *w, const float *bias, int32_t channels, int32_t taps, int32_t rows)
/* y = x * rsqrt(mean(x^2) + eps) * w, (n,); y may be x. */
#define Q3T_RMSNORM(name) void name(float *y, const float *x, const float *w, int32_t n, float eps)
/* y = (x - mean) * rsqrt(var + eps) * w + b, (n,); population variance; y may be x. */
#define Q3T_LAYERNORM(name) void name(float *y, const float *x, const float *w, const float *b, int32_t n, float eps)
/* One head in place: RMS norm with weight w (NULL: none), then rotation of the halves:
 * (a, b) -> (a cos - b sin, b cos + a sin); cos, sin (head_dim / 2,). */
#define Q3T_HEAD_ROPE(name) void name(float *x, const float *w, const float *cos, const float *sin, int32_t head_dim, float eps)
/* `heads` queries (heads, head_dim) of one position against keys [first, first + count) of one kv head:
 * out (heads, head_dim) = softmax(q . k * scale) v. Keys: element d of position p at
 * k[(p / Q3T_KEYS * head_dim + d) * Q3T_KEYS + p % Q3T_KEYS], whole blocks readable; values: v[p * head_dim + d].
 * scores: scratch of heads * (count + 2 * Q3T_KEYS) floats. */
#define Q3T_ATTEND_TO(kept, name) \
    void name(float *out, const float *q, const kept *k, const kept *v, int32_t heads, int32_t head_dim, int32_t first, \
              int32_t count, float scale, float *scores)
#define Q3T_ATTEND(name) Q3T_ATTEND_TO(float, name)
/* The same for keys and values in bf16, to the bits that attend gives for them widened. */
#define Q3T_ATTEND_BF16(name) Q3T_ATTEND_TO(uint16_t, name)
/* y = silu(gate) * up, (n,); y may be gate. */
#define Q3T_SILU_MUL(name) void name(float *y, const float *gate, const float *up, int32_t n)
/* x = silu(x), (n,). */
#define Q3T_SILU(name) void name(float *x, int32_t n)
/* x = gelu(x), the exact one with erf, (n,). */
#define Q3T_GELU(name) void name(float *x, int32_t n)
/* y = x where x > 0, else exp(x) - 1, (n,); y may be x. */
#define Q3T_ELU(name) void name(float *y, const float *x, int32_t n)
/* y[r][c] = x + inv_beta[c] * sin(x * alpha[c])^2; rows of `channels` floats; y may be x. */
#define Q3T_SNAKE(name) void name(float *y, const float *x, const float *alpha, const float *inv_beta, int32_t channels, int32_t rows)
/* y += x, (n,). */
#define Q3T_ADD(name) void name(float *y, const float *x, int32_t n)
/* y += scale * x, element by element, (n,). */
#define Q3T_ADD_SCALED(name) void name(float *y, const float *x, const float *scale, int32_t n)
/* y += x widened from bf16, (n,). */
#define Q3T_ADD_BF16(name) void name(float *y, const uint16_t *x, int32_t n)
/* Sum of y[i] = exp((x[i] - max) * scale), (n,); -inf gives 0; y may be x. */
#define Q3T_EXP_SUM(name) float name(float *y, const float *x, int32_t n, float max, float scale)
/* Largest of x (n,), n >= 1; NaN is not looked for. */
#define Q3T_MAX(name) float name(const float *x, int32_t n)
/* 1 if all of x (n,) are finite. */
#define Q3T_FINITE(name) int32_t name(const float *x, int32_t n)
/* Largest of the n bytes at p taken as floats, whatever they mean: reads memory as fast as it comes. n: a multiple of 1024. */
#define Q3T_SWEEP(name) float name(const void *p, size_t n)
/* x = min(max(x, -1), 1), (n,); NaN stays NaN. */
#define Q3T_CLAMP(name) void name(float *x, int32_t n)

/* The table: one row an entry. Used for the struct, for q3t_kernels_text, the checks and the benches. */
#define Q3T_KERNEL_TABLE(X) \
    X(prepare_f32, PREPARE) X(linear_f32, LINEAR) X(prepare_bf16, PREPARE) X(linear_bf16, LINEAR) \
    X(prepare_int8, PREPARE) X(linear_int8, LINEAR) X(prepare_int4, PREPARE) X(linear_int4, LINEAR) \
    X(linear_coded, LINEAR) X(conv, CONV) X(toom_in, TOOM_IN) X(toom_out, TOOM_OUT) X(depthwise, DEPTHWISE) \
    X(rmsnorm, RMSNORM) X(layernorm, LAYERNORM) X(head_rope, HEAD_ROPE) X(attend, ATTEND) \
    X(attend_bf16, ATTEND_BF16) X(silu_mul, SILU_MUL) X(silu, SILU) X(gelu, GELU) X(elu, ELU) X(snake, SNAKE) \
    X(add, ADD) X(add_scaled, ADD_SCALED) X(add_bf16, ADD_BF16) X(exp_sum, EXP_SUM) X(max, MAX) X(finite, FINITE) \
    X(clamp, CLAMP) X(sweep, SWEEP)

/* Each entry, then `<entry>_isa`: the name of the file that filled it, for q3t_kernels_text and the tests. */
#define Q3T_KERNEL_FIELD(entry, SIGNATURE) Q3T_##SIGNATURE((*entry)); const char *entry##_isa;
typedef struct q3t_kernels { Q3T_KERNEL_TABLE(Q3T_KERNEL_FIELD) } q3t_kernels;
#define Q3T_SET(table, entry, isa) ((table)->entry = entry, (table)->entry##_isa = (isa))

/* Fill the table: scalar, then every overlay that `flags` (q3t_cpu) allows, in priority order. */
void q3t_kernels_init(q3t_kernels *k, uint32_t flags);
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

/* Pack a group of INT4, x[input][row], with its scales into out. Values that are not finite become NaN scales. */
typedef void q3t_int4_packer(const float (*x)[Q3T_BLOCK], uint8_t *out);
q3t_int4_packer q3t_int4_pack_scalar, q3t_int4_pack_avx2;
/* The fastest that `flags` (q3t_cpu) allow; all give the same bytes. */
q3t_int4_packer *q3t_int4_packer_of(uint32_t flags);

static inline float q3t_widen(uint16_t h) {
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

/* To the nearest bf16, to even from the middle; NaN stays NaN. */
static inline uint16_t q3t_narrow(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    return f == f ? (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16) : Q3T_NAN_BF16;
}
#endif
