/* pack/matrix.h - converts a matrix of a checkpoint to one of the packed formats of kernels/formats.h. */
#ifndef Q3T_PACK_MATRIX_H
#define Q3T_PACK_MATRIX_H
#include "kernels/table.h"
#include "base/status.h"

/* Compute the bytes of a matrix (rows, k) packed as INT8 or INT4. Returns Q3T_E_SIZE if the number overflows. */
q3t_status q3t_quant_matrix_bytes(int32_t format, int32_t rows, int32_t k, size_t *bytes);
/* Pack the blocks [block0, block1), of Q3T_BLOCK rows each, of m, BF16 or F32, as INT8 or INT4. out: the whole packed matrix. */
void q3t_quant_pack(int32_t format, const q3t_matrix *m, int32_t block0, int32_t block1, void *out);

/* Compute the bytes of a matrix (rows, k) packed as CODED. Returns Q3T_E_SIZE if the number overflows. */
q3t_status q3t_coded_matrix_bytes(int32_t rows, int32_t k, size_t *bytes);
/* Pack the blocks [block0, block1), of Q3T_CODED_ROWS rows each, of m, BF16, as CODED; blocks beyond the matrix are not written.
 * out: the whole packed matrix, 64-byte aligned. Returns Q3T_E_SIZE if a block has more exceptions than there is room for. */
q3t_status q3t_coded_pack(const q3t_matrix *m, int32_t block0, int32_t block1, void *out);
#endif
