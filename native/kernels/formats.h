/* kernels/formats.h - the formats of a matrix of the language models: where each weight is in a packed matrix, how weights and
 * columns are rounded, and in which order a product is summed. The functions of pack/ write packed matrices, the kernels read
 * them. */
#ifndef Q3T_MATRIX_FORMATS_H
#define Q3T_MATRIX_FORMATS_H
#include <stddef.h>
#include <stdint.h>

enum { Q3T_BLOCK = 32,     /* rows in one block of INT8 or INT4 weights; outputs in one panel of convolution weights */
       Q3T_KEYS = 16 };    /* positions of a key group: their keys are stored dimension by dimension */

/* Formats of a matrix. A matrix W has the shape (rows, k); the product y = W x of W and a column x (k,) is y (rows,). */
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
 *   (kernels/bodies/pack_int4.h). q = w * (1 / scale) rounded to the nearest integer, ties to even, then limited to -8 .. 7; if the
 *   scale is 0, every q is 0. The scale is 0 if the largest |w| of the row in the group is so small that its square underflows.
 *   A row of a group with a value that is not finite has scale NaN and every q 0.
 *
 *   In both formats four bytes hold four consecutive inputs of one row (INT4: twice four), and 32 rows lie side by side. A vector
 *   load thus gives one row for each 32-bit lane, and a dot product of four bytes in each lane needs no shuffle.
 *
 * CODED. bf16 in 12 bits without loss. The low byte is stored as it is; the high byte (the sign and the upper seven bits of the
 *   exponent) as a 4-bit code: an index into the 16 high bytes that are most frequent in the block. A block of 8 rows is
 *     byte 0      16 high bytes, in the order of their codes
 *     byte 16     exceptions: one uint32 for each weight whose high byte has no code, in increasing order:
 *                 (i / 128) << 18 | r << 15 | (i % 128) << 8 | high byte. Q3T_CODED_END follows the last exception. There is room
 *                 for q3t_coded_exceptions(k) exceptions and Q3T_CODED_END. For weights beyond the matrix nothing is defined
 *     byte q3t_coded_head_bytes(k)    for each 128 inputs, for each of the 8 rows, 192 bytes: 128 low bytes, then 64 bytes of codes
 *   With p = q3t_coded_place(i % 128), input i of a row has its low byte in byte p of the 192, its code in byte 128 + p % 64: in
 *   the low half if p < 64, else in the high half. This order suits the unpack instructions of vector units, which interleave the
 *   first or the last 8 of every 16 low bytes with high bytes: the first give inputs 0 .. 31 of 64, the last inputs 32 .. 63.
 *
 * ---- Prepared columns
 *
 * Before a matrix is multiplied by a column x (k,), prepare_<format> converts the column into q3t_act_bytes(k) bytes at a 64-byte
 * boundary. For F32 and BF16 each instruction set has its own order of the values, which only its own linear kernel reads. For INT8
 * and INT4 all instruction sets prepare the same bytes: ceil(k / G) * G values q (int8), then ceil(k / G) structs q3t_group, with
 * G = Q3T_GROUP_INT8 or Q3T_GROUP_INT4. Inputs beyond k are 0. With m the largest |x| of a group: scale = m / 127,
 * q = x * (127 / m) rounded to the nearest integer, ties to even. If m < Q3T_SMALLEST_GROUP, the scale and every q are 0. A group
 * with a value that is not finite has scale NaN and every q 0.
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

/* A matrix of weights (rows, k). F32 and BF16: row-major in the memory of the checkpoint, aligned to 4 and 2 bytes. Packed formats:
 * aligned to 64 bytes. */
typedef struct q3t_matrix {
    int32_t format, rows, k;
    const void *data;
} q3t_matrix;

/* Bytes of one prepared column of length k: enough for every format and instruction set; a multiple of 64. */
static inline size_t q3t_act_bytes(int32_t k) { return ((size_t)k * 4 + 63) / 64 * 64 + ((size_t)k / 32 * 8 + 127) / 64 * 64; }

/* INT8 and INT4: bytes of one group in a block (INT4: with the scales of the group); bytes of one block of Q3T_BLOCK rows. */
static inline size_t q3t_quant_group_bytes(int32_t format) {
    return format == Q3T_FORMAT_INT8 ? Q3T_GROUP_INT8 * Q3T_BLOCK : Q3T_GROUP_INT4 / 2 * Q3T_BLOCK + 2 * Q3T_BLOCK;
}
static inline size_t q3t_quant_block_bytes(int32_t format, int32_t k) {
    size_t group = format == Q3T_FORMAT_INT8 ? Q3T_GROUP_INT8 : Q3T_GROUP_INT4;
    return ((size_t)k + group - 1) / group * q3t_quant_group_bytes(format) + (format == Q3T_FORMAT_INT8 ? 4 * Q3T_BLOCK : 0);
}

/* CODED, in this order: number of steps of 128 inputs in a row; exceptions that a block has room for; bytes of a block before its
 * weights; bytes of a block of 8 rows; place of input i, 0 .. 127, in a step. */
static inline size_t q3t_coded_steps(int32_t k) { return ((size_t)k + Q3T_CODED_STEP - 1) / Q3T_CODED_STEP; }
static inline size_t q3t_coded_exceptions(int32_t k) { return 4 * q3t_coded_steps(k) + 10; }
static inline size_t q3t_coded_head_bytes(int32_t k) { return (16 + 4 * (q3t_coded_exceptions(k) + 1) + 63) / 64 * 64; }
static inline size_t q3t_coded_block_bytes(int32_t k) {
    return q3t_coded_head_bytes(k) + q3t_coded_steps(k) * Q3T_CODED_ROWS * Q3T_CODED_ROW_BYTES;
}
static inline int q3t_coded_place(int i) { return i / 64 * 64 + i % 32 / 8 * 16 + i % 64 / 32 * 8 + i % 8; }
#endif
