/* kernels/bodies/split.h - the column of a bf16 dot product: x = hi + lo, both bf16, so that
 * two exact products stand for one, and x loses at most 2^-17 of itself. Where hi
 * rounds to infinity, or lo is subnormal, so does the sum or is lo lost. */

/* Steps of 2 * V_LEN: their high parts, then their low parts; zeros beyond k. */
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
