/* kernels/bodies/split.h - prepares a column for bf16 dot products. Each value x is split into two bf16, x = hi + lo, with a
 * relative error of at most 2^-17. w * x is then the sum of two products that are exact in float. If hi rounds to infinity, the
 * sum is infinite too; a lo that is subnormal is lost. */

/* Writes, for each 2 * V_LEN values, their high parts and then their low parts; inputs beyond k are 0. */
static Q3T_PREPARE(prepare_bf16) {
    uint16_t *out = act;
    float tail[2 * V_LEN] = {0};
    for (int32_t i = 0; i < k; i += 2 * V_LEN, x += 2 * V_LEN, out += 4 * V_LEN) {
        if (k - i < 2 * V_LEN) x = memcpy(tail, x, (size_t)(k - i) * sizeof *x);
        for (int32_t j = 0; j < 2 * V_LEN; j++) {
            out[j] = q3t_narrow(x[j]);
            out[2 * V_LEN + j] = q3t_narrow(x[j] - q3t_widen(out[j]));
        }
    }
}
