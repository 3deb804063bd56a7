/* check_kernels.c - compares every kernel of every instruction set of this machine with the scalar kernel: with random and extreme
 * numbers, every length of a tail, and arrays that end at a page without access. A split of the work must not change a bit.
 *
 *   check_kernels [--expect ISA] [--bench [MASK]]
 * ISA: the instruction set whose linear_bf16 must have been chosen. --bench: print times instead, of the kernels that MASK (bits of
 * q3t_cpu) allows. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "bench_kernels.h"
#include "check_kernels_rows.h"

/* ---- matrices */
typedef struct linear_case {
    q3t_format format;
    int32_t rows, k, cols;
    kind how;
} linear_case;

static float weight(const q3t_matrix *m, size_t i) {
    return m->format == Q3T_FORMAT_F32 ? ((const float *)m->data)[i] : q3t_widen(((const uint16_t *)m->data)[i]);
}

static void prepare(const q3t_kernels *k, const linear_case *c, void *act, const float *x) {
    for (int32_t i = 0; i < c->cols; i++)
        (c->format == Q3T_FORMAT_F32 ? k->prepare_f32 : k->prepare_bf16)((char *)act + i * q3t_act_bytes(c->k), x + (size_t)i * c->k, c->k);
}

static void multiply(const q3t_kernels *k, const q3t_matrix *m, int32_t row0, int32_t row1, const char *act, int32_t col, int32_t cols,
                     float *y, size_t ldy) {
    (m->format == Q3T_FORMAT_F32 ? k->linear_f32 : k->linear_bf16)(m, row0, row1, act + col * q3t_act_bytes(m->k), cols, y + col * ldy, ldy);
}

/* Returns the largest allowed error of an element: k / 4 + 12 roundings of its terms. split: 1 for bf16 dot products, with which x
 * has an error of 2^-17, each step makes up to six roundings, and subnormal inputs and sums count as 0. */
static double linear_tolerance(const q3t_matrix *m, int32_t row, const float *x, int split) {
    double terms = 0, vanish = 0;
    for (int32_t i = 0; i < m->k; i++) {
        double w = weight(m, (size_t)row * m->k + i);
        terms += fabs(w * x[i]);
        vanish += (fabs(w) + fabs(x[i]) + 1) * 0x1p-125;
    }
    return split ? terms * (0x1p-17 + (m->k / 4 + 12) * 6 * ULP) + vanish : terms * (m->k / 4 + 12) * ULP + 1e-44;
}

static void check_linear_case(const q3t_kernels *k, const q3t_kernels *scalar, const linear_case *c, const char *isa) {
    const size_t item = c->format == Q3T_FORMAT_F32 ? 4 : 2, weights = (size_t)c->rows * c->k, ldy = (size_t)c->rows + 3;
    const int split = c->format == Q3T_FORMAT_BF16 && strstr(k->linear_bf16_isa, "bf16") != NULL;
    float *source = guarded_floats(weights), *x = guarded_floats((size_t)c->cols * c->k);
    float *want = guarded_floats(ldy * c->cols), *got = guarded_floats(ldy * c->cols), *parts = guarded_floats(ldy * c->cols);
    char *act = guarded(q3t_act_bytes(c->k) * c->cols), *data = guarded(weights * item);
    q3t_matrix m = {c->format, c->rows, c->k, data};
    int ok = 1, gaps = 1;
    snprintf(check.what, sizeof check.what, "%s linear format %d, %dx%d, %d columns, kind %d", isa, c->format, c->rows, c->k, c->cols, c->how);
    numbers(source, weights, c->how), numbers(x, (size_t)c->cols * c->k, c->how);
    for (size_t i = 0; i < weights; i++) memcpy(data + i * item, (char *)&source[i] + 4 - item, item);
    if (c->how == EXTREME) x[below(c->cols) * c->k + below(c->k)] = (float[]){NAN, INFINITY, -INFINITY}[below(3)];
    prepare(scalar, c, act, x);
    multiply(scalar, &m, 0, c->rows, act, 0, c->cols, want, ldy);
    prepare(k, c, act, x);
    unwrite(got, ldy * c->cols), unwrite(parts, ldy * c->cols);
    multiply(k, &m, 0, c->rows, act, 0, c->cols, got, ldy);
    for (int32_t col = 0; col < c->cols; col++)
        for (size_t row = 0; row < ldy; row++) {
            float y = got[col * ldy + row];
            if (row >= (size_t)c->rows) gaps &= is_unwritten(y);
            else ok &= close_to(y, want[col * ldy + row], linear_tolerance(&m, (int32_t)row, x + (size_t)col * c->k, split)) && !is_unwritten(y);
        }
    expect(ok, "differs from scalar");
    expect(gaps, "wrote beyond its rows");
    for (int32_t col = 0, next; col < c->cols; col = next) {
        next = col + 1 + below(c->cols - col);
        for (int32_t row = 0, end; row < c->rows; row = end) {
            end = row + 1 + below(c->rows - row);
            multiply(k, &m, row, end, act, col, next - col, parts, ldy);
        }
    }
    expect(same(got, parts, ldy * c->cols), "an element depends on the rows or columns of the call");
    check_release(0);
}

static void check_linear(const q3t_kernels *k, const q3t_kernels *scalar, const char *isa) {
    static const int32_t lengths[] = {100, 127, 128, 255, 500, 511, 512, 513, 545, 1024, 1031};
    static const int32_t columns[] = {1, 2, 3, 5, 8, 13, 37};
    for (int format = 0; format <= Q3T_FORMAT_BF16; format++) { /* check_quant.c and check_coded.c check the packed formats */
        for (int32_t length = 1; length <= 67; length++)
            for (int how = 0; how < KINDS; how++)
                check_linear_case(k, scalar, &(linear_case){format, 1 + below(40), length, columns[below(7)], how}, isa);
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
            for (int c = 0; c < 7; c++)
                check_linear_case(k, scalar, &(linear_case){format, 1 + below(9), lengths[i], columns[c], i % KINDS}, isa);
        for (int32_t rows = 1; rows <= 27; rows++)
            check_linear_case(k, scalar, &(linear_case){format, rows, 70, 1 + below(20), ORDINARY}, isa);
    }
}

/* ---- convolutions */
typedef struct conv_case {
    int32_t in, out, taps, dilation, times;
    kind how;
} conv_case;

static void check_conv_case(const q3t_kernels *k, const q3t_kernels *scalar, const conv_case *s, const char *isa) {
    const int32_t panels = (s->out + Q3T_BLOCK - 1) / Q3T_BLOCK, t0 = below(3), t1 = t0 + s->times;
    const size_t pairs = (size_t)s->taps * s->in, weights = panels * pairs * Q3T_BLOCK, ldx = s->in + (size_t)below(4), ldy = s->out + 2;
    const size_t inputs = (t1 - 1 + (size_t)(s->taps - 1) * s->dilation) * ldx + s->in, outputs = (t1 - 1) * ldy + s->out;
    float *w = guarded_floats(weights), *bias = guarded_floats((size_t)panels * Q3T_BLOCK), *x = guarded_floats(inputs);
    float *want = guarded_floats(outputs), *got = guarded_floats(outputs), *parts = guarded_floats(outputs);
    q3t_conv c = {s->in, s->out, s->taps, s->dilation, w, bias, 0};
    int ok = 1;
    snprintf(check.what, sizeof check.what, "%s conv %d to %d, %d taps by %d, %d times", isa, s->in, s->out, s->taps, s->dilation, s->times);
    numbers(w, weights, s->how), numbers(bias, (size_t)panels * Q3T_BLOCK, s->how);
    for (size_t i = 0; i < inputs; i++) x[i] = i / ldx >= (size_t)t0 && i % ldx < (size_t)s->in ? number(s->how) : NAN;
    for (size_t i = 0; i < weights; i++)
        if (i / (pairs * Q3T_BLOCK) * Q3T_BLOCK + i % Q3T_BLOCK >= (size_t)s->out) w[i] = 0;
    unwrite(want, outputs), unwrite(got, outputs), unwrite(parts, outputs);
    scalar->conv(&c, x, ldx, want, ldy, t0, t1, 0, panels);
    k->conv(&c, x, ldx, got, ldy, t0, t1, 0, panels);
    for (int32_t t = 0; t < t1; t++)
        for (int32_t o = 0; o < (t + 1 < t1 ? (int32_t)ldy : s->out); o++) {
            float y = got[t * ldy + o];
            double terms = fabs(o < s->out ? bias[o] : 0);
            if (t < t0 || o >= s->out) {
                ok &= is_unwritten(y);
                continue;
            }
            const float *column = w + o / Q3T_BLOCK * pairs * Q3T_BLOCK + o % Q3T_BLOCK, *row = x + t * ldx;
            for (int32_t tap = 0; tap < s->taps; tap++, row += s->dilation * ldx)
                for (int32_t i = 0; i < s->in; i++, column += Q3T_BLOCK) terms += fabs((double)*column * row[i]);
            ok &= close_to(y, want[t * ldy + o], terms * (double)(pairs + 2) * ULP + 1e-44);  /* one rounding for each term */
        }
    expect(ok, "differs from scalar, or wrote elsewhere");
    for (int32_t block = 0, last; block < panels; block = last) {
        last = block + 1 + below(panels - block);
        for (int32_t t = t0, end; t < t1; t = end) {
            end = t + 1 + below(t1 - t);
            k->conv(&c, x, ldx, parts, ldy, t, end, block, last);
        }
    }
    expect(same(got, parts, outputs), "an element depends on the times or blocks of the call");
    k->conv(&c, x, ldx, parts, ldy, t0, t0, 0, panels);
    expect(same(got, parts, outputs), "no times: wrote");
    check_release(0);
}

static void check_conv(const q3t_kernels *k, const q3t_kernels *scalar, const char *isa) {
    for (int32_t out = 1; out <= 101; out += out < 36 ? 1 : 13)
        for (int how = 0; how < KINDS; how++)
            check_conv_case(k, scalar, &(conv_case){1 + below(40), out, 1 + below(7), 1 + below(3), 1 + below(30), how}, isa);
    for (int32_t times = 1; times <= 40; times++)
        check_conv_case(k, scalar, &(conv_case){9, 35, 3, 1, times, ORDINARY}, isa);
    for (int32_t in = 500; in <= 1000; in += 125) /* panels of several chunks; outputs with more weights than CONV_COLUMN */
        for (int32_t out = 1; out <= 36; out += 35)
            check_conv_case(k, scalar, &(conv_case){in, out, 2, 1 + below(9), 1 + below(15), WIDE}, isa);
}

/* ---- attention */
typedef struct attend_case {
    int32_t heads, head_dim, first, count;
    float size;  /* factor that queries or keys are multiplied by */
} attend_case;

/* A KV cache of two heads, of which the second is used: the arguments of Q3T_ATTEND. */
typedef struct cache {
    const void *blocks[32];
    int32_t block;
    size_t at;
} cache;

static void put(void *memory, size_t at, float x, int bf16) {
    if (bf16) ((uint16_t *)memory)[at] = q3t_narrow(x);
    else ((float *)memory)[at] = x;
}

/* Make a cache with keys and values (count, head_dim) at the positions [first, first + count), in blocks of `block` positions, or in
 * one block if `block` is 0. Other elements are NaN. */
static cache fill_cache(const float *keys, const float *values, const attend_case *c, int32_t first, int32_t block, int bf16) {
    const int32_t dim = c->head_dim, end = first + c->count;
    cache made = {.block = block ? block : (end + Q3T_KEYS - 1) / Q3T_KEYS * Q3T_KEYS};
    const size_t head = 2 * (size_t)made.block * dim;
    made.at = head;
    for (int32_t b = 0; b * made.block < end; b++) {
        void *memory = guarded(2 * head * (bf16 ? 2 : 4));
        made.blocks[b] = memory;
        for (size_t i = 0; i < 2 * head; i++) put(memory, i, NAN, bf16);
        for (int32_t in = 0; in < made.block; in++) {
            const int32_t j = b * made.block + in - first;
            if (j < 0 || j >= c->count) continue;
            for (int32_t d = 0; d < dim; d++) {
                put(memory, head + ((size_t)in / Q3T_KEYS * dim + d) * Q3T_KEYS + in % Q3T_KEYS, keys[(size_t)j * dim + d], bf16);
                put(memory, head + ((size_t)made.block + in) * dim + d, values[(size_t)j * dim + d], bf16);
            }
        }
    }
    return made;
}

/* A random number of positions of a block. */
static int32_t some_block(void) { return Q3T_KEYS * (1 + below(6)); }

/* Returns the largest allowed error of an output. The error of a score is head_dim + 4 roundings of its terms; it multiplies the
 * weight of its position in the softmax by a factor. Each of the `count` positions adds one rounding to the sums. */
static double attend_tolerance(const attend_case *c, const float *q, const float *keys, const float *values, float scale) {
    double score = 0, value = 0;
    for (int32_t j = 0; j < c->count; j++) {
        double terms = 0;
        for (int32_t d = 0; d < c->head_dim; d++) {
            terms += fabs((double)q[d] * keys[(size_t)j * c->head_dim + d]);
            value = fmax(value, fabs(values[(size_t)j * c->head_dim + d]));
        }
        score = fmax(score, terms);
    }
    return value * (2 * score * scale * (c->head_dim + 4) + 2 * c->count + 16) * ULP;
}

static void check_attend_case(const q3t_kernels *k, const q3t_kernels *scalar, const attend_case *c, const char *isa) {
    const int32_t dim = c->head_dim, all = c->heads * dim, shift = 1 + below(40);
    const size_t held = (size_t)c->count * dim, room = (size_t)c->heads * (c->count + 2 * Q3T_KEYS);
    float *q = guarded_floats(all), *keys = guarded_floats(held), *values = guarded_floats(held), *scores = guarded_floats(room);
    float *want = guarded_floats(all), *got = guarded_floats(all), *other = guarded_floats(all);
    const float scale = 1 / sqrtf((float)dim);
    int ok = 1;
    snprintf(check.what, sizeof check.what, "%s attend %d heads of %d, keys %d + %d, size %g", isa, c->heads, dim, c->first, c->count, c->size);
    numbers(q, all, ORDINARY), numbers(keys, held, ORDINARY), numbers(values, held, ORDINARY);
    for (int32_t i = 0; i < all; i++) q[i] *= c->size;
    const cache one = fill_cache(keys, values, c, c->first, 0, 0), many = fill_cache(keys, values, c, c->first, some_block(), 0);
    const cache later = fill_cache(keys, values, c, c->first + shift, some_block(), 0);
    scalar->attend(want, q, one.blocks, one.at, one.block, c->heads, dim, c->first, c->count, scale, scores);
    unwrite(got, all), unwrite(scores, room);
    k->attend(got, q, one.blocks, one.at, one.block, c->heads, dim, c->first, c->count, scale, scores);
    for (int32_t h = 0; h < c->heads; h++) {
        double tolerance = attend_tolerance(c, q + h * dim, keys, values, scale);
        for (int32_t d = h * dim; d < (h + 1) * dim; d++) ok &= close_to(got[d], want[d], tolerance) && !is_unwritten(got[d]);
    }
    expect(ok, "differs from scalar");
    k->attend(other, q, many.blocks, many.at, many.block, c->heads, dim, c->first, c->count, scale, scores);
    expect(same(got, other, all), "depends on the blocks");
    k->attend(other, q, later.blocks, later.at, later.block, c->heads, dim, c->first + shift, c->count, scale, scores);
    expect(same(got, other, all), "depends on the positions of the keys");
    for (int32_t h = 0; h < c->heads; h++)
        k->attend(other + h * dim, q + h * dim, one.blocks, one.at, one.block, 1, dim, c->first, c->count, scale, scores);
    expect(same(got, other, all), "a head depends on the others");
    keys[below(c->count) * dim + below(dim)] = NAN;
    const cache bad = fill_cache(keys, values, c, c->first, some_block(), 0);
    k->attend(got, q, bad.blocks, bad.at, bad.block, c->heads, dim, c->first, c->count, scale, scores);
    expect(!k->finite(got, all), "a NaN among the keys is lost");
    check_release(0);
}

/* attend_bf16 must give the bits that attend gives for the same keys and values as floats. */
static void check_attend_bf16_case(const q3t_kernels *k, const attend_case *c, const char *isa) {
    const int32_t dim = c->head_dim, all = c->heads * dim;
    const size_t held = (size_t)c->count * dim;
    float *q = guarded_floats(all), *keys = guarded_floats(held), *values = guarded_floats(held);
    float *got = guarded_floats(all), *want = guarded_floats(all), *scores = guarded_floats((size_t)c->heads * (c->count + 2 * Q3T_KEYS));
    snprintf(check.what, sizeof check.what, "%s attend_bf16 %d heads of %d, keys %d + %d", isa, c->heads, dim, c->first, c->count);
    numbers(q, all, ORDINARY);
    for (size_t i = 0; i < held; i++) keys[i] = q3t_widen(q3t_narrow(c->size * number(ORDINARY)));
    for (size_t i = 0; i < held; i++) values[i] = q3t_widen(q3t_narrow(number(ORDINARY)));
    const cache wide = fill_cache(keys, values, c, c->first, 0, 0), narrow = fill_cache(keys, values, c, c->first, some_block(), 1);
    k->attend(want, q, wide.blocks, wide.at, wide.block, c->heads, dim, c->first, c->count, 0.1f, scores);
    unwrite(got, all);
    k->attend_bf16(got, q, narrow.blocks, narrow.at, narrow.block, c->heads, dim, c->first, c->count, 0.1f, scores);
    expect(same(got, want, all), "differs from attend of the same numbers");
    values[held - 1] = NAN;
    const cache bad = fill_cache(keys, values, c, c->first, some_block(), 1);
    k->attend_bf16(got, q, bad.blocks, bad.at, bad.block, c->heads, dim, c->first, c->count, 0.1f, scores);
    expect(!k->finite(got, all), "a NaN among the values is lost");
    check_release(0);
}

static void check_narrow(void) {
    snprintf(check.what, sizeof check.what, "narrow");
    for (int i = 0; i < 1000; i++) {
        const uint16_t below_it = (uint16_t)(bits() % 0x7f7f); /* a magnitude below the largest finite one */
        const float low = q3t_widen(below_it), high = q3t_widen(below_it + 1), middle = low + (high - low) / 2;
        expect(q3t_narrow(low) == below_it && q3t_narrow(-low) == (below_it | 0x8000), "changes a bf16");
        expect(q3t_narrow(middle) == (below_it + 1) / 2 * 2, "a tie is not rounded to even");
        expect(q3t_narrow(nextafterf(middle, 0)) == below_it && q3t_narrow(nextafterf(middle, high)) == below_it + 1, "is not the nearest");
    }
    uint32_t all = 0xffffffff;
    float nan;
    memcpy(&nan, &all, 4);
    expect(isnan(q3t_widen(q3t_narrow(nan))) && isnan(q3t_widen(q3t_narrow(NAN))), "a NaN is lost");
    expect(q3t_widen(q3t_narrow(-INFINITY)) == -INFINITY, "infinity is lost");
}

static void check_attend(const q3t_kernels *k, const q3t_kernels *scalar, const char *isa) {
    static const int32_t dims[] = {1, 2, 3, 7, 8, 16, 17, 30, 32, 33, 64, 65, 100, 128, 131};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
        for (int32_t heads = 1; heads <= 5; heads++)
            for (int round = 0; round < 6; round++)
                check_attend_case(k, scalar, &(attend_case){heads, dims[i], below(40), 1 + below(round < 3 ? 20 : 200), round % 3 ? 0.5f : 50}, isa);
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
        for (int32_t heads = 1; heads <= 4; heads++)
            check_attend_bf16_case(k, &(attend_case){heads, dims[i], below(40), 1 + below(100), heads % 2 ? 0.5f : 50}, isa);
}

/* ---- the table */
static void check_isa(uint32_t mask, const q3t_kernels *k, const char *isa) {
    char text[2048];
    snprintf(check.what, sizeof check.what, "%s", isa);
    size_t length = q3t_kernels_text(mask, text, sizeof text);
    expect(length == strlen(text) && length < sizeof text, "kernels text: length");
    expect(mask == 0 || !strstr(text, "=scalar"), "an entry is scalar");
    expect(strstr(text, "prepare_f32=") == text && strstr(text, " clamp=") != NULL, "kernels text: entries");
    expect(k->prepare_bf16_isa == k->linear_bf16_isa && k->prepare_f32_isa == k->linear_f32_isa, "prepare and linear of different instruction sets");
    char cut[8];
    memset(cut, 'x', sizeof cut);
    expect(q3t_kernels_text(mask, cut, 5) == length && !strcmp(cut, "prep") && cut[5] == 'x', "kernels text: a short buffer");
    expect(q3t_kernels_text(mask, NULL, 0) == length, "kernels text: no buffer");
}

int main(int argc, char **argv) {
    static const struct { uint32_t mask; const char *name; } sets[] = {
        {0, "scalar"}, {Q3T_CPU_AVX2, "avx2"}, {Q3T_CPU_AVX2 | Q3T_CPU_AVX512, "avx512"},
        {Q3T_CPU_NEON, "neon"}, {Q3T_CPU_NEON | Q3T_CPU_NEON_BF16, "neon_bf16"}};
    q3t_kernels k, scalar;
    const char *expected = argc == 3 && !strcmp(argv[1], "--expect") ? argv[2] : NULL;
    if (argc > 1 && !strcmp(argv[1], "--bench")) {
        q3t_kernels_init(&k, q3t_cpu_flags() & (argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 0) : (uint32_t)Q3T_CPU_ALL));
        bench(&k);
        return 0;
    }
    check_open();
    check_narrow();
    q3t_kernels_init(&scalar, 0);
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        if ((sets[i].mask & q3t_cpu_flags()) != sets[i].mask) continue;
        q3t_kernels_init(&k, sets[i].mask);
        const int before = check.failures;
        check_isa(sets[i].mask, &k, sets[i].name);
        check_elementwise(&k, &scalar, sets[i].name);
        check_reductions(&k, &scalar, sets[i].name);
        check_norms(&k, &scalar, sets[i].name);
        check_head_rope(&k, &scalar, sets[i].name);
        check_channels(&k, &scalar, sets[i].name);
        check_linear(&k, &scalar, sets[i].name);
        check_conv(&k, &scalar, sets[i].name);
        check_attend(&k, &scalar, sets[i].name);
        printf("  %s: %s\n", sets[i].name, check.failures == before ? "ok" : "FAILED");
    }
    if (expected) {
        q3t_kernels_init(&k, q3t_cpu_flags());
        snprintf(check.what, sizeof check.what, "--expect %s", expected);
        expect(!strcmp(k.linear_bf16_isa, expected), k.linear_bf16_isa);
    }
    return check.failures != 0;
}
