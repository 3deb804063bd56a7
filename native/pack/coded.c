/* pack/coded.c - packs a bf16 matrix as CODED, 12 bits for each weight without loss (kernels/formats.h). Trained weights have
 * similar magnitudes and so few different high bytes. Packing fails if a block has more exceptions than there is room for. */
#include "base/arena.h"
#include "pack/matrix.h"

/* Copy inputs [first, first + Q3T_CODED_STEP) of row r to out; weights beyond the matrix are 0. */
static void read_row(const q3t_matrix *m, int32_t r, int32_t first, uint16_t *out) {
    const int32_t left = m->k - first, n = r >= m->rows ? 0 : left < Q3T_CODED_STEP ? left : Q3T_CODED_STEP;
    memset(out, 0, Q3T_CODED_STEP * sizeof *out);
    if (n > 0) memcpy(out, (const char *)m->data + ((size_t)r * (size_t)m->k + (size_t)first) * 2, (size_t)n * 2);
}

/* Find the 16 most frequent high bytes of a block of rows: table (16,). */
static void choose_table(const q3t_matrix *m, int32_t block, uint8_t *table) {
    int32_t count[256] = {0};
    for (int32_t r = block * Q3T_CODED_ROWS; r < (block + 1) * Q3T_CODED_ROWS && r < m->rows; r++)
        for (int32_t i = 0; i < m->k; i++) count[((const uint8_t *)m->data)[((size_t)r * (size_t)m->k + (size_t)i) * 2 + 1]]++;
    for (int n = 0; n < 16; n++) {
        int most = 0;
        for (int high = 1; high < 256; high++) most = count[high] > count[most] ? high : most;
        table[n] = (uint8_t)most;
        count[most] = -1;
    }
}

/* Pack one block of rows into out. Returns 0 if the block has more than q3t_coded_exceptions(m->k) exceptions, else 1. */
static int pack_block(const q3t_matrix *m, int32_t block, uint8_t *out) {
    uint8_t code[256], *at = out + q3t_coded_head_bytes(m->k);
    uint32_t *exceptions = (uint32_t *)(out + 16);
    size_t n = 0;
    memset(out, 0, q3t_coded_block_bytes(m->k));
    choose_table(m, block, out);
    memset(code, 16, sizeof code);
    for (int i = 0; i < 16; i++) code[out[i]] = (uint8_t)i;
    for (int32_t first = 0; first < m->k; first += Q3T_CODED_STEP)
        for (int32_t r = 0; r < Q3T_CODED_ROWS; r++, at += Q3T_CODED_ROW_BYTES) {
            uint16_t w[Q3T_CODED_STEP];
            const int32_t inputs = block * Q3T_CODED_ROWS + r >= m->rows ? 0 : m->k - first;
            read_row(m, block * Q3T_CODED_ROWS + r, first, w);
            for (int i = 0; i < Q3T_CODED_STEP; i++) {
                const int place = q3t_coded_place(i);
                const uint8_t high = w[i] >> 8;
                at[place] = (uint8_t)w[i];
                if (code[high] < 16) {
                    at[Q3T_CODED_STEP + place % 64] |= (uint8_t)(code[high] << (i < 64 ? 0 : 4));
                } else if (i < inputs) {
                    if (n == q3t_coded_exceptions(m->k)) return 0;
                    exceptions[n++] = (uint32_t)(first / Q3T_CODED_STEP) << 18 | (uint32_t)r << 15 | (uint32_t)i << 8 | high;
                }
            }
        }
    exceptions[n] = Q3T_CODED_END;
    return 1;
}

q3t_status q3t_coded_matrix_bytes(int32_t rows, int32_t k, size_t *bytes) {
    return q3t_mul(((size_t)rows + Q3T_CODED_ROWS - 1) / Q3T_CODED_ROWS, q3t_coded_block_bytes(k), bytes);
}

q3t_status q3t_coded_pack(const q3t_matrix *m, int32_t block0, int32_t block1, void *out) {
    for (int32_t block = block0; block < block1 && block * Q3T_CODED_ROWS < m->rows; block++)
        if (!pack_block(m, block, (uint8_t *)out + (size_t)block * q3t_coded_block_bytes(m->k))) return Q3T_E_SIZE;
    return Q3T_OK;
}
