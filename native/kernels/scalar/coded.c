/* kernels/scalar/coded.c - linear_coded in plain C: the reference for the versions for other instruction sets. kernels/formats.h
 * describes the format CODED. */
#include "kernels/table.h"
#include "q3t.h"

/* Decodes the k inputs of one row of a block, in order. */
typedef struct reader {
    const uint8_t *block;
    const uint32_t *exception;  /* no exception before this one belongs to the inputs of the row that are still to be decoded */
    int32_t row, k;
} reader;

/* Returns the weight of input i, bf16. i must increase from call to call. */
static uint16_t decode_weight(reader *from, int32_t i) {
    const uint8_t *w = from->block + q3t_coded_head_bytes(from->k) +
                       ((size_t)(i / Q3T_CODED_STEP) * Q3T_CODED_ROWS + (size_t)from->row) * Q3T_CODED_ROW_BYTES;
    const int at = i % Q3T_CODED_STEP, place = q3t_coded_place(at);
    const uint8_t both = w[Q3T_CODED_STEP + place % 64];
    const uint32_t here = (uint32_t)(i / Q3T_CODED_STEP) << 10 | (uint32_t)from->row << 7 | (uint32_t)at;
    uint32_t high = from->block[at < 64 ? both & 15 : both >> 4];
    while (*from->exception >> 8 < here) from->exception++;
    if (*from->exception >> 8 == here) high = *from->exception & 255;
    return (uint16_t)(high << 8 | w[place]);
}

static Q3T_LINEAR(linear_coded) {
    for (int32_t c = 0; c < cols; c++) {
        const float *x = (const float *)((const char *)act + (size_t)c * q3t_act_bytes(m->k));
        for (int32_t r = row0; r < row1; r++) {
            const uint8_t *block = (const uint8_t *)m->data + (size_t)(r / Q3T_CODED_ROWS) * q3t_coded_block_bytes(m->k);
            reader from = {block, (const uint32_t *)(block + 16), r % Q3T_CODED_ROWS, m->k};
            double sum = 0;
            for (int32_t i = 0; i < m->k; i++) sum += (double)q3t_widen(decode_weight(&from, i)) * x[i];
            y[(size_t)c * ldy + r] = (float)sum;
        }
    }
}

void q3t_kernels_init_scalar_coded(q3t_kernels *k) {
    static const char isa[] = "scalar";
    Q3T_SET(k, linear_coded, isa);
}
