/* kernels/bodies/probe.h - the kernel sweep, which reads memory in order to measure its bandwidth. */
static Q3T_SWEEP(sweep) {
    enum { CHAINS = 8 };
    V most[CHAINS];
    for (int j = 0; j < CHAINS; j++) most[j] = v_set1(0);
    for (const float *x = p, *end = x + n / sizeof *x; x < end; x += CHAINS * V_LEN)
        V_UNROLL for (int j = 0; j < CHAINS; j++) most[j] = v_max(most[j], v_load(x + j * V_LEN));
    for (int j = 1; j < CHAINS; j++) most[0] = v_max(most[0], most[j]);
    return v_largest(most[0]);
}
