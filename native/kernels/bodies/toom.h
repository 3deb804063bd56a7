/* kernels/bodies/toom.h - the kernels toom_in and toom_out, the input and output transforms of Toom-Cook F(4, 7) (kernels/table.h),
 * written with the vectors of kernels/bodies/vector.h.
 *
 * Let M(z) = z (z^2 - a^2) (z^2 - b^2) (z^2 - c^2) (z^2 - d^2), where +-a, +-b, +-c, +-d are the points except 0 and infinity. The
 * input transform of a tile at a point p is the dot product of the tile's ten inputs with the coefficients of M(z) / (z - p); at
 * infinity, with the coefficients of M(z). For the points a and -a the polynomial is z^2 R(z^2) +- a z R(z^2) with
 * R(s) = (s - b^2) (s - c^2) (s - d^2): the same two sums of four terms serve both points. All coefficients are exact in float. */

/* The coefficients of z^0, z^1 and z^2 in (z - q^2) (z - r^2) (z - s^2); the coefficient of z^3 is 1. */
#define TOOM_R0(q, r, s) (-(q) * (q) * (r) * (r) * (s) * (s))
#define TOOM_R1(q, r, s) ((q) * (q) * (r) * (r) + (q) * (q) * (s) * (s) + (r) * (r) * (s) * (s))
#define TOOM_R2(q, r, s) (-(q) * (q) - (r) * (r) - (s) * (s))

/* Input transform of one tile for V_LEN channels. d: the ten input rows, a vector of channels each. The vector at point p goes to
 * u + p * ldp; only its first n channels are stored. */
V_INLINE void toom_points(const V *d, float *u, size_t ldp, int32_t n) {
    const float a = 0.375f, q = 0.875f, r = 1.25f, s = 2.5f;
    const V c0 = v_set1(-a * a * TOOM_R0(q, r, s)), c1 = v_set1(TOOM_R0(q, r, s) - a * a * TOOM_R1(q, r, s));
    const V c2 = v_set1(TOOM_R1(q, r, s) - a * a * TOOM_R2(q, r, s)), c3 = v_set1(TOOM_R2(q, r, s) - a * a);
    v_put(u, v_fma(c0, d[0], v_fma(c1, d[2], v_fma(c2, d[4], v_fma(c3, d[6], d[8])))), n);
    u += ldp;
#define TOOM_PAIR(at, x, y, z) { \
        const V r0 = v_set1(TOOM_R0(x, y, z)), r1 = v_set1(TOOM_R1(x, y, z)), r2 = v_set1(TOOM_R2(x, y, z)), p = v_set1(at); \
        V even = v_fma(r0, d[2], v_fma(r1, d[4], v_fma(r2, d[6], d[8]))); \
        V odd = v_fma(r0, d[1], v_fma(r1, d[3], v_fma(r2, d[5], d[7]))); \
        v_put(u, v_fma(p, odd, even), n); \
        v_put(u + ldp, v_fnma(p, odd, even), n); \
        u += 2 * ldp; \
    }
    Q3T_TOOM_PAIRS(TOOM_PAIR)
#undef TOOM_PAIR
    v_put(u, v_fma(c0, d[1], v_fma(c1, d[3], v_fma(c2, d[5], v_fma(c3, d[7], d[9])))), n);
}

static Q3T_TOOM_IN(toom_in) {
    const size_t step = (size_t)dilation * ldx;
    for (int32_t first = 0; first < rows; first += Q3T_TOOM_OUT * dilation)
        for (int32_t t = first; t < first + dilation && t < rows; t++, u += ldu) {
            const float *row = x + (size_t)t * ldx;
            const int32_t there = (rows - t - 1) / dilation + Q3T_TOOM_TAPS; /* inputs that exist; later ones are 0 */
            for (int32_t c = 0; c < channels; c += V_LEN) {
                V d[Q3T_TOOM_POINTS];
                V_UNROLL for (int i = 0; i < Q3T_TOOM_POINTS; i++)
                    d[i] = i < there ? v_get(row + i * step + c, channels - c) : v_set1(0);
                toom_points(d, u + c, ldp, channels - c);
            }
        }
}

static Q3T_TOOM_OUT(toom_out) {
    for (int32_t first = 0; first < rows; first += Q3T_TOOM_OUT * dilation)
        for (int32_t t = first; t < first + dilation && t < rows; t++, m += Q3T_TOOM_POINTS * Q3T_BLOCK)
            for (int32_t o = 0; o < n; o += V_LEN) {
                V b = v_get(bias + o, n - o), sum[Q3T_TOOM_OUT] = {b, b, b, b};
                const float *at = m + o;
                sum[0] = v_add(sum[0], v_load(at));
                at += Q3T_BLOCK;
#define TOOM_PAIR(p, x, y, z) { \
                    V plus = v_load(at), minus = v_load(at + Q3T_BLOCK), even = v_add(plus, minus), odd = v_sub(plus, minus); \
                    sum[0] = v_add(sum[0], even); \
                    sum[1] = v_fma(v_set1(p), odd, sum[1]); \
                    sum[2] = v_fma(v_set1((p) * (p)), even, sum[2]); \
                    sum[3] = v_fma(v_set1((p) * (p) * (p)), odd, sum[3]); \
                    at += 2 * Q3T_BLOCK; \
                }
                Q3T_TOOM_PAIRS(TOOM_PAIR)
#undef TOOM_PAIR
                sum[3] = v_add(sum[3], v_load(at));
                V_UNROLL for (int j = 0; j < Q3T_TOOM_OUT; j++)
                    if (t + j * dilation < rows) v_put(y + (size_t)(t + j * dilation) * ldy + o, sum[j], n - o);
            }
}
