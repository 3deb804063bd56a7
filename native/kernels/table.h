/* kernels/table.h - the kernels of the engine: their signatures, the layouts of the matrices that they read, and the table
 * that holds one pointer for each.
 *
 * A kernel is a pure function on a range of its output: it allocates nothing, starts no threads, does no input or output and
 * keeps no state. A macro declares each signature once; the pointer in the table and every definition use the macro. Arrays
 * need only the alignment of their element type unless a comment says more.
 * The order in which an output element is summed depends on the inputs of that element alone: not on the range, the number of
 * rows or columns in the call, or the thread. So the work may be split in any way and the result has the same bits.
 * kernels/scalar/ defines what each entry computes. */
#ifndef Q3T_KERNELS_H
#define Q3T_KERNELS_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { Q3T_BLOCK = 32,     /* rows in one block of INT8 or INT4 weights; outputs in one panel of convolution weights */
       Q3T_KEYS = 16 };    /* positions in one block of the key cache */

/* Formats of a matrix of the language models. A matrix is (rows, k): y = W x takes x (k,) and gives y (rows,). */
typedef enum q3t_format { Q3T_FORMAT_F32, Q3T_FORMAT_BF16, Q3T_FORMAT_INT8, Q3T_FORMAT_INT4, Q3T_FORMAT_CODED } q3t_format;

/* ---- Layouts of packed weights
 *
 * INT8, INT4 and CODED are packed formats. A packed matrix begins at a 64-byte boundary and is a sequence of blocks of rows:
 * Q3T_BLOCK = 32 rows for INT8 and INT4, Q3T_CODED_ROWS = 8 rows for CODED. All blocks of a matrix have the same size, which is
 * a multiple of 64 bytes; there is no header and no gap. Rows beyond the last row, and inputs beyond k, are stored as weights of 0.
 * Numbers of more than one byte are in the byte order of the machine. Below, r counts the rows of a block and i the inputs.
 *
 * INT8. A block is ceil(k / 64) groups of 64 inputs, 2048 bytes each, then 32 scales (f32), one for each row:
 *     weight (r, i)   byte  (i / 4) * 128 + 4 * r + i % 4        unsigned: q + 128, -127 <= q <= 127
 *     scale r         byte  ceil(k / 64) * 2048 + 4 * r
 *   A weight is q * scale. With m the largest |w| of the row: scale = m / 127, q = w * (127 / m) rounded to the nearest integer,
 *   ties to even, then limited to -127 .. 127. m < Q3T_SMALLEST_GROUP: every q is 0. A row with a value that is not finite has
 *   scale NaN and every q 0.
 *
 * INT4. A block is ceil(k / 32) groups of 32 inputs, 576 bytes each: 512 bytes of weights, then 32 scales (bf16) of the group,
 *   those of rows r and r + 16 next to each other. With g = i / 32 and j = i % 32:
 *     weight (r, i)   byte  g * 576 + (j / 8) * 128 + 4 * r + j % 4      low half of the byte if j % 8 < 4, else the high half;
 *                                                                        unsigned: q + 8, -8 <= q <= 7
 *     scale (g, r)    byte  g * 576 + 512 + 4 * (r % 16) + 2 * (r / 16)
 *   A weight is q * scale. The scale, which may be negative, is the best of five candidates in least squares, rounded to bf16
 *   (kernels/bodies/pack.h). q = w * (1 / scale) rounded to the nearest integer, ties to even, then limited to -8 .. 7; scale 0:
 *   every q is 0. The scale is 0 if the largest |w| of the row in the group is so small that its square underflows. A row of a group
 *   with a value that is not finite has scale NaN and every q 0.
 *
 *   In both formats four bytes hold four consecutive inputs of one row (INT4: twice four), and 32 rows lie side by side. A vector
 *   load thus gives one row for each 32-bit lane, and a dot product of four bytes in each lane needs no shuffle.
 *
 * CODED. bf16 in 12 bits without loss. The low byte is stored as it is; the high byte (the sign and the upper seven bits of the
 *   exponent) as a 4-bit code: an index into the 16 high bytes that are the most frequent in the block. A block of 8 rows is
 *     byte 0      16 high bytes, in the order of their codes
 *     byte 16     exceptions: weights whose high byte has no code; uint32 in increasing order, each
 *                 (i / 128) << 18 | r << 15 | (i % 128) << 8 | high byte; Q3T_CODED_END follows the last one; there is room for
 *                 q3t_coded_exceptions(k) of them and the end. Code and value of weights beyond the matrix are not defined
 *     byte q3t_coded_head_bytes(k)    for each 128 inputs, for each of the 8 rows, 192 bytes: 128 low bytes, then 64 bytes of codes
 *   With p = q3t_coded_place(i % 128), input i of a row has its low byte in byte p of the 192, its code in byte 128 + p % 64: in
 *   the low half if p < 64, else in the high half. Interleaving the first 8 low and high bytes of every 16 gives inputs 0 .. 31 of
 *   64 in order, the second 8 give inputs 32 .. 63: what the unpack instructions of the vector units do.
 *
 * ---- Prepared columns
 *
 * Before a matrix is multiplied by a column x (k,), prepare_<format> converts the column into q3t_act_bytes(k) bytes at a 64-byte
 * boundary. For F32 and BF16 each instruction set has its own order of the values, which only its own linear kernel reads. For INT8
 * and INT4 all prepare the same bytes: ceil(k / G) * G values q (int8), then ceil(k / G) q3t_group, with G = Q3T_GROUP_INT8 or
 * Q3T_GROUP_INT4; inputs beyond k are 0. With m the largest |x| of a group: scale = m / 127, q = x * (127 / m) rounded to the
 * nearest integer, ties to even. m < Q3T_SMALLEST_GROUP: scale and every q are 0. A group with a value that is not finite has
 * scale NaN and every q 0.
 *
 * The INT8 or INT4 product is summed group by group, from the first to the last, in f32, starting from 0:
 *     total = fma((float)sum, scale, total),    sum = the integer sum over the group of weight q * column q
 * INT8: scale = scale of the column group; y = total * row scale. INT4: scale = weight scale (g, r) * scale of the column group;
 * y = total. */
enum { Q3T_GROUP_INT8 = 64, Q3T_GROUP_INT4 = 32 };
typedef struct q3t_group {  /* of a prepared column */
    float scale;            /* a column value is q * scale */
    int32_t start;          /* -128 (INT8) or -8 (INT4) times the sum of q: removes the offset of the unsigned weights */
} q3t_group;
#define Q3T_INFINITY_BITS 0x7f800000
#define Q3T_NAN_BF16 0x7fc0
#define Q3T_SMALLEST_GROUP 1e-30f  /* smaller m count as 0: 127 / m is not finite for the smallest floats */

enum { Q3T_CODED_ROWS = 8, Q3T_CODED_STEP = 128, Q3T_CODED_ROW_BYTES = Q3T_CODED_STEP / 2 * 3 };
#define Q3T_CODED_END 0xffffffffu

/* (rows, k) weights. F32 and BF16: row-major, aligned to 4 and 2 bytes: the checkpoint itself. Packed: aligned to 64 bytes. */
typedef struct q3t_matrix {
    int32_t format, rows, k;
    const void *data;
} q3t_matrix;

/* A causal convolution over channel-last rows: y[t][o] = bias[o] + sum over tap, i of w[o][tap][i] * x[t + tap * dilation][i].
 * A panel is Q3T_BLOCK outputs. w: (ceil(out / Q3T_BLOCK), taps, in, Q3T_BLOCK) f32, 64-byte aligned, 0 for outputs >= `out`;
 * bias: (ceil(out / Q3T_BLOCK) * Q3T_BLOCK,) f32, padded with 0. */
typedef struct q3t_conv {
    int32_t in, out, taps, dilation;
    const float *w, *bias;
    int32_t points;         /* 0; or Q3T_TOOM_POINTS: w is (panel, point, in, Q3T_BLOCK), for toom_in and toom_out */
} q3t_conv;

/* Toom-Cook F(4, 7): four outputs of a convolution of seven taps from ten products instead of 28. Output rows are cut into
 * steps of 4 * dilation rows, the last one shorter. Tile c of a step makes the four rows c + j * dilation, 0 <= j < 4, of
 * the step from ten input rows. toom_in transforms the inputs of the tiles to ten points; at each point, the values are multiplied by
 * the panel of that point, as in a convolution of one tap; toom_out transforms the ten products of a tile back to its four rows.
 * Points: 0, +-0.375, +-0.875, +-1.25, +-2.5, infinity: of the fractions with few bits, these have the least rounding error. */
enum { Q3T_TOOM_TAPS = 7, Q3T_TOOM_OUT = 4, Q3T_TOOM_POINTS = Q3T_TOOM_TAPS + Q3T_TOOM_OUT - 1 };
#define Q3T_TOOM_PAIRS(X) X(0.375f, 0.875f, 1.25f, 2.5f) X(0.875f, 0.375f, 1.25f, 2.5f) \
    X(1.25f, 0.375f, 0.875f, 2.5f) X(2.5f, 0.375f, 0.875f, 1.25f) /* a point, and the other three */
/* Tiles of `rows` output rows. */
static inline int32_t q3t_toom_tiles(int32_t rows, int32_t dilation) {
    int32_t rest = rows % (Q3T_TOOM_OUT * dilation);
    return rows / (Q3T_TOOM_OUT * dilation) * dilation + (rest < dilation ? rest : dilation);
}

/* Bytes of one prepared column of length k: enough for every format and instruction set; a multiple of 64. */
static inline size_t q3t_act_bytes(int32_t k) { return ((size_t)k * 4 + 63) / 64 * 64 + ((size_t)k / 32 * 8 + 127) / 64 * 64; }

/* INT8 and INT4: bytes of one group of a block (INT4: with its scales), and of one block of Q3T_BLOCK rows. */
static inline size_t q3t_quant_group_bytes(int32_t format) {
    return format == Q3T_FORMAT_INT8 ? Q3T_GROUP_INT8 * Q3T_BLOCK : Q3T_GROUP_INT4 / 2 * Q3T_BLOCK + 2 * Q3T_BLOCK;
}
static inline size_t q3t_quant_block_bytes(int32_t format, int32_t k) {
    size_t group = format == Q3T_FORMAT_INT8 ? Q3T_GROUP_INT8 : Q3T_GROUP_INT4;
    return ((size_t)k + group - 1) / group * q3t_quant_group_bytes(format) + (format == Q3T_FORMAT_INT8 ? 4 * Q3T_BLOCK : 0);
}

/* CODED: steps of 128 inputs; exceptions that one block has room for; bytes before its weights; bytes of one block of 8 rows;
 * place of input i (0 .. 127) of a step. */
static inline size_t q3t_coded_steps(int32_t k) { return ((size_t)k + Q3T_CODED_STEP - 1) / Q3T_CODED_STEP; }
static inline size_t q3t_coded_exceptions(int32_t k) { return 4 * q3t_coded_steps(k) + 10; }
static inline size_t q3t_coded_head_bytes(int32_t k) { return (16 + 4 * (q3t_coded_exceptions(k) + 1) + 63) / 64 * 64; }
static inline size_t q3t_coded_block_bytes(int32_t k) {
    return q3t_coded_head_bytes(k) + q3t_coded_steps(k) * Q3T_CODED_ROWS * Q3T_CODED_ROW_BYTES;
}
static inline int q3t_coded_place(int i) { return i / 64 * 64 + i % 32 / 8 * 16 + i % 64 / 32 * 8 + i % 8; }

/* ---- Signatures */

/* Convert the column x (k,) into act, for the linear kernel of the same format. act: q3t_act_bytes(k), 64-byte aligned. */
#define Q3T_PREPARE(name) void name(void *act, const float *x, int32_t k)
/* y[c * ldy + r] = dot(row r of m, column c) for r in [row0, row1), c in [0, cols).
 * act: `cols` prepared columns, q3t_act_bytes(k) bytes apart. linear_coded takes columns of prepare_bf16 and gives the bits of
 * linear_bf16 on the same weights. */
#define Q3T_LINEAR(name) \
    void name(const q3t_matrix *m, int32_t row0, int32_t row1, const void *act, int32_t cols, float *y, size_t ldy)
/* y[t * ldy + o] for t in [t0, t1) and the outputs of panels [block0, block1) that are below c->out; x row t at x + t * ldx.
 * Order of the sum: bias, then tap by tap, input by input. */
#define Q3T_CONV(name) \
    void name(const q3t_conv *c, const float *x, size_t ldx, float *y, size_t ldy, int32_t t0, int32_t t1, int32_t block0, \
              int32_t block1)
/* Input transform of the tiles of `rows` output rows: tile k at point p is (channels,) at u + k * ldu + p * ldp.
 * Row t of x, t < rows + 6 * dilation, is (channels,) at x + t * ldx; later rows count as 0. */
#define Q3T_TOOM_IN(name) \
    void name(float *u, size_t ldu, size_t ldp, const float *x, size_t ldx, int32_t channels, int32_t dilation, int32_t rows)
/* Output transform: n <= Q3T_BLOCK outputs of each of `rows` rows, row t at y + t * ldy; m: (tiles, Q3T_TOOM_POINTS, Q3T_BLOCK);
 * bias: (n,). */
#define Q3T_TOOM_OUT(name) \
    void name(float *y, size_t ldy, const float *m, const float *bias, int32_t n, int32_t dilation, int32_t rows)
/* Depthwise convolution: y[t][c] = bias[c] + sum over tap of w[tap][c] * x[t + tap][c]; y (rows, channels), x (rows + taps - 1,
 * channels), w (taps, channels); y and x do not overlap. */
#define Q3T_DEPTHWISE(name) \
    void name(float *y, const float *x, const float *w, const float *bias, int32_t channels, int32_t taps, int32_t rows)
/* y = x * rsqrt(mean(x^2) + eps) * w, (n,); y may be x. */
#define Q3T_RMSNORM(name) void name(float *y, const float *x, const float *w, int32_t n, float eps)
/* y = (x - mean) * rsqrt(var + eps) * w + b, (n,); population variance; y may be x. */
#define Q3T_LAYERNORM(name) void name(float *y, const float *x, const float *w, const float *b, int32_t n, float eps)
/* One head x (head_dim,) in place: RMS norm with weight w (NULL: none), then rotary embedding of the two halves:
 * (a, b) -> (a cos - b sin, b cos + a sin); cos, sin (head_dim / 2,). */
#define Q3T_HEAD_ROPE(name) void name(float *x, const float *w, const float *cos, const float *sin, int32_t head_dim, float eps)
/* Attention of one position: `heads` queries (heads, head_dim) over the cached positions [first, first + count) of the key-value
 * head that they share: out (heads, head_dim) = softmax(q . k * scale) v. Element d of position p is, of the keys,
 * k[(p / Q3T_KEYS * head_dim + d) * Q3T_KEYS + p % Q3T_KEYS], where whole blocks must be readable; of the values, v[p * head_dim + d].
 * scores: scratch of heads * (count + 2 * Q3T_KEYS) floats. */
#define Q3T_ATTEND_OVER(type, name) \
    void name(float *out, const float *q, const type *k, const type *v, int32_t heads, int32_t head_dim, int32_t first, \
              int32_t count, float scale, float *scores)
#define Q3T_ATTEND(name) Q3T_ATTEND_OVER(float, name)
/* The same for keys and values in bf16; gives the bits of `attend` on the widened keys and values. */
#define Q3T_ATTEND_BF16(name) Q3T_ATTEND_OVER(uint16_t, name)
/* y = silu(gate) * up, (n,); y may be gate. */
#define Q3T_SILU_MUL(name) void name(float *y, const float *gate, const float *up, int32_t n)
/* x = silu(x), (n,). */
#define Q3T_SILU(name) void name(float *x, int32_t n)
/* x = gelu(x), (n,): x * Phi(x) with the error function, not its tanh approximation. */
#define Q3T_GELU(name) void name(float *x, int32_t n)
/* y = x where x > 0, else exp(x) - 1, (n,); y may be x. */
#define Q3T_ELU(name) void name(float *y, const float *x, int32_t n)
/* y[r][c] = x[r][c] + inv_beta[c] * sin(x[r][c] * alpha[c])^2; x, y (rows, channels); y may be x. */
#define Q3T_SNAKE(name) void name(float *y, const float *x, const float *alpha, const float *inv_beta, int32_t channels, int32_t rows)
/* y += x, (n,). */
#define Q3T_ADD(name) void name(float *y, const float *x, int32_t n)
/* y += scale * x, element by element, (n,). */
#define Q3T_ADD_SCALED(name) void name(float *y, const float *x, const float *scale, int32_t n)
/* y += x, (n,); x in bf16. */
#define Q3T_ADD_BF16(name) void name(float *y, const uint16_t *x, int32_t n)
/* y[i] = exp((x[i] - max) * scale), (n,); returns the sum of y. x[i] = -inf gives 0; y may be x. */
#define Q3T_EXP_SUM(name) float name(float *y, const float *x, int32_t n, float max, float scale)
/* Returns the largest of x (n,), n >= 1; undefined if x has a NaN. */
#define Q3T_MAX(name) float name(const float *x, int32_t n)
/* Returns 1 if all of x (n,) are finite, else 0. */
#define Q3T_FINITE(name) int32_t name(const float *x, int32_t n)
/* Reads n bytes at p in order, n a multiple of 1024, to measure the bandwidth of memory. Returns the largest of them as floats,
 * so that no read is left out. */
#define Q3T_SWEEP(name) float name(const void *p, size_t n)
/* x = min(max(x, -1), 1), (n,); NaN stays NaN. */
#define Q3T_CLAMP(name) void name(float *x, int32_t n)

/* ---- The table: X(entry, signature) for each entry; makes the struct, q3t_kernels_text and the overlays. */
#define Q3T_KERNEL_TABLE(X) \
    X(prepare_f32, PREPARE) X(linear_f32, LINEAR) X(prepare_bf16, PREPARE) X(linear_bf16, LINEAR) \
    X(prepare_int8, PREPARE) X(linear_int8, LINEAR) X(prepare_int4, PREPARE) X(linear_int4, LINEAR) \
    X(linear_coded, LINEAR) X(conv, CONV) X(toom_in, TOOM_IN) X(toom_out, TOOM_OUT) X(depthwise, DEPTHWISE) \
    X(rmsnorm, RMSNORM) X(layernorm, LAYERNORM) X(head_rope, HEAD_ROPE) X(attend, ATTEND) \
    X(attend_bf16, ATTEND_BF16) X(silu_mul, SILU_MUL) X(silu, SILU) X(gelu, GELU) X(elu, ELU) X(snake, SNAKE) \
    X(add, ADD) X(add_scaled, ADD_SCALED) X(add_bf16, ADD_BF16) X(exp_sum, EXP_SUM) X(max, MAX) X(finite, FINITE) \
    X(clamp, CLAMP) X(sweep, SWEEP)

/* Each entry, then `<entry>_isa`: the name of the overlay ("scalar", "avx2", ...) that filled it. */
#define Q3T_KERNEL_FIELD(entry, SIGNATURE) Q3T_##SIGNATURE((*entry)); const char *entry##_isa;
typedef struct q3t_kernels { Q3T_KERNEL_TABLE(Q3T_KERNEL_FIELD) } q3t_kernels;
#define Q3T_SET(table, entry, isa) ((table)->entry = entry, (table)->entry##_isa = (isa))

/* Fill the table: the scalar kernels, then every overlay that `flags` (bits of q3t_cpu) allow; a later one replaces entries of an
 * earlier one. */
void q3t_kernels_init(q3t_kernels *k, uint32_t flags);
/* One overlay each: set the entries that it has. */
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

/* Pack one INT4 group x (Q3T_GROUP_INT4 inputs, Q3T_BLOCK rows) with its scales into out, q3t_quant_group_bytes(Q3T_FORMAT_INT4) bytes.
 * A row with a value that is not finite has scale NaN. */
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
