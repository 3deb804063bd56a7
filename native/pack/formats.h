/* pack/formats.h - the packed formats of kernels/table.h, made from a matrix of the checkpoint. */
#ifndef Q3T_QUANT_H
#define Q3T_QUANT_H
#include "kernels/table.h"
#include "base/status.h"

/* Bytes of a packed matrix, or Q3T_E_SIZE. format: INT8 or INT4. */
q3t_status q3t_quant_bytes(int32_t format, int32_t rows, int32_t k, size_t *bytes);
/* Pack blocks [block0, block1) of a (rows, k) matrix of BF16 or F32 values into out, the place of block 0. Values that are
 * not finite become NaN scales. */
void q3t_quant_pack(int32_t format, const q3t_matrix *m, int32_t block0, int32_t block1, void *out);

/* Bytes of a (rows, k) matrix of the format CODED, or Q3T_E_SIZE. */
q3t_status q3t_coded_size(int32_t rows, int32_t k, size_t *bytes);
/* Code blocks [block0, block1) of Q3T_CODED_ROWS rows of a BF16 matrix into out, the place of block 0, 64-byte aligned.
 * Blocks beyond the matrix are left out. Q3T_E_SIZE if one has more exceptions than there is room for. */
q3t_status q3t_coded_pack(const q3t_matrix *m, int32_t block0, int32_t block1, void *out);
#endif
