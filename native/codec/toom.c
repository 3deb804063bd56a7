/* codec/toom.c - runs the first convolution of a residual unit by Toom-Cook F(4, 7), an algorithm with 10 products in place of 28;
 * kernels/table.h describes it.
 *
 * The kernel toom_in makes tiles of the input rows; at each of 10 points the tiles are multiplied by the panels of weights; the
 * kernel toom_out makes output rows of the products; then the epilogue is applied.
 * The first tile of a frame begins at the first row of the frame, so that the bits of an output do not depend on how many frames
 * are in the call. If the weights are small, each part of the rows goes through the whole unit, one block of tiles at a time. If
 * the weights are large, all tiles are made first, and then each panel is multiplied by all of them. */
#include "codec/internal.h"
#include "base/small.h"

enum { SHARES = 4,            /* parts of the rows for each thread: other threads take the parts of a late thread */
       BLOCK_TILES = 48,      /* most tiles in a block that is multiplied by all panels */
       PANEL_TILES = 96,      /* most tiles in a block that is multiplied by one panel */
       LEAST_ROWS = 16,       /* rows of a frame; with fewer, the time to read the weights counts: they are 10 / 7 as large */
       LEAST_CHANNELS = 16,   /* with fewer, toom_in and toom_out take most of the time */
       SLICE = 128,           /* channels in one call of toom_in */
       RESIDENT = 2 << 20,    /* bytes of weights; larger weights are not read again for each block of tiles */
       SHARED = 5 << 18 };    /* bytes of the tiles that are made before the panels are multiplied by them */

static const float no_bias[Q3T_BLOCK];

/* The distance between two tiles in floats: the number of channels rounded up to 16, plus 16 (one cache line). Without the
 * extra line the distance could be a power of two, and tiles would map to the same cache sets. */
static size_t tile_floats(const q3t_conv *c) { return (size_t)(c->in + 31) / 16 * 16; }
/* Number of steps of 4 * dilation rows in a frame of `rows` rows. */
static int32_t steps_of(int32_t rows, int32_t dilation) { return (rows - 1) / (Q3T_TOOM_OUT * dilation) + 1; }

int32_t q3t_toom_is_faster(int32_t channels, int32_t dilation, int32_t frame_rows) {
    int32_t products = q3t_toom_tiles(frame_rows, dilation) * Q3T_TOOM_POINTS;
    return channels >= LEAST_CHANNELS && frame_rows >= LEAST_ROWS && products * 4 <= frame_rows * Q3T_TOOM_TAPS * 3;
}

/* The weight at a point is the polynomial whose coefficients are the taps, evaluated at the point and divided by the product of
 * the distances to the other points. It is computed in double and rounded once. */
void q3t_toom_weights(float *to, size_t step, const float taps[Q3T_TOOM_TAPS][Q3T_BLOCK]) {
    static const double at[] = {0.375, 0.875, 1.25, 2.5};
    double origin = 1;
    for (int i = 0; i < 4; i++) {
        double a = at[i], s = a * a, by = 2 * s;  /* a * 2a: the distances from a to 0 and to -a */
        float *plus = to + (size_t)(2 * i + 1) * step, *minus = plus + step;
        for (int j = 0; j < 4; j++) by *= j == i ? 1 : s - at[j] * at[j];
        origin *= s;
        for (int r = 0; r < Q3T_BLOCK; r++) {
            double even = taps[0][r] + s * (taps[2][r] + s * (taps[4][r] + s * taps[6][r]));
            double odd = a * (taps[1][r] + s * (taps[3][r] + s * taps[5][r]));
            plus[r] = (float)((even + odd) / by);
            minus[r] = (float)((even - odd) / by);
        }
    }
    for (int r = 0; r < Q3T_BLOCK; r++) {
        to[r] = (float)(taps[0][r] / origin);
        to[(Q3T_TOOM_POINTS - 1) * step + (size_t)r] = taps[Q3T_TOOM_TAPS - 1][r];
    }
}

/* ------------------------------------------------------------ scratch */
/* Frames whose tiles are made at a time: as many as fit in SHARED bytes, at least one. */
static int32_t shared_frames(const q3t_conv *c, int32_t frame_rows, int32_t frames) {
    size_t bytes = (size_t)q3t_toom_tiles(frame_rows, c->dilation) * Q3T_TOOM_POINTS * tile_floats(c) * sizeof(float);
    return bytes >= SHARED ? 1 : q3t_min(frames, (int32_t)(SHARED / bytes));
}

void q3t_toom_reserve(const q3t_conv *c, int32_t frame_rows, int32_t frames, q3t_toom_scratch *t) {
    if (!c->points) return;
    size_t tile = Q3T_TOOM_POINTS * tile_floats(c), tiles = (size_t)q3t_toom_tiles(frame_rows, c->dilation);
    t->shared_floats = q3t_max_size(t->shared_floats, tile * tiles * (size_t)shared_frames(c, frame_rows, frames));
    t->part_floats = q3t_max_size(t->part_floats, tile * BLOCK_TILES + (size_t)PANEL_TILES * Q3T_TOOM_POINTS * Q3T_BLOCK);
}

/* ------------------------------------------------------------ blocks of tiles */
typedef struct job {
    const q3t_kernels *kernels;
    const q3t_conv_step *first, *second;
    const q3t_toom_scratch *scratch;
    int32_t frame, frames;     /* the first frame of this parallel run, and the number of frames */
    int32_t steps, tiles;      /* steps of 4 * dilation rows, and tiles, in a frame */
    int32_t threads, parts;    /* threads of the pool; items of the parallel run */
} job;

/* Number of tiles before step i of the run; only the last step of a frame may have fewer tiles than `dilation`. */
static int32_t tile_at(const job *j, int32_t i) { return i / j->steps * j->tiles + i % j->steps * j->first->conv->dilation; }
/* The first row of step i of the run, counted from the first frame of the call. */
static int32_t row_at(const job *j, int32_t i) {
    return (j->frame + i / j->steps) * j->first->frame_rows + i % j->steps * Q3T_TOOM_OUT * j->first->conv->dilation;
}

/* Advance step *i to `end`, or to the end of its frame if that comes first. Returns the number of rows passed. */
static int32_t next_rows(const job *j, int32_t *i, int32_t end) {
    int32_t from = row_at(j, *i), left = j->steps - *i % j->steps;
    *i += q3t_min(left, end - *i);
    return row_at(j, *i) - from;
}

/* Floats to add to the address of the input of step i: the gaps before the stream that the step belongs to. */
static size_t gaps_at(const job *j, int32_t i) {
    const q3t_streams *s = j->first->streams;
    int32_t frame = j->frame + i / j->steps, stream = 0;
    while (s && s->first[stream + 1] <= frame) stream++;
    return (size_t)stream * j->first->x_gap;
}

/* Make channels [c0, c1) of the tiles of the steps [i, end). Point p of tile k goes to u + p * ldp + k * tile_floats. */
static void make_tiles(const job *j, int32_t i, int32_t end, float *u, size_t ldp, int32_t c0, int32_t c1) {
    const q3t_conv_step *s = j->first;
    size_t ldu = tile_floats(s->conv);
    for (int32_t start = i, from = i; i < end; from = i) {
        int32_t rows = next_rows(j, &i, end);
        j->kernels->toom_in(u + (size_t)(tile_at(j, from) - tile_at(j, start)) * ldu + c0, ldu, ldp,
                            s->x + gaps_at(j, from) + (size_t)row_at(j, from) * s->ldx + c0, s->ldx, c1 - c0, s->conv->dilation, rows);
    }
}

/* Compute the outputs of one panel for the steps [i, end). u, ldp: their tiles, as make_tiles writes them. m: scratch (tiles,
 * Q3T_TOOM_POINTS, Q3T_BLOCK). */
static void multiply(const job *j, int32_t i, int32_t end, const float *u, size_t ldp, int32_t panel, float *m) {
    const q3t_conv_step *s = j->first;
    const q3t_conv *c = s->conv;
    size_t point = (size_t)c->in * Q3T_BLOCK, ldm = Q3T_TOOM_POINTS * Q3T_BLOCK;
    const float *w = c->w + (size_t)panel * Q3T_TOOM_POINTS * point;
    int32_t o = panel * Q3T_BLOCK, tiles = tile_at(j, end) - tile_at(j, i);
    for (int32_t p = 0; p < Q3T_TOOM_POINTS; p++) {
        q3t_conv at = {.in = c->in, .out = Q3T_BLOCK, .taps = 1, .dilation = 1, .w = w + (size_t)p * point, .bias = no_bias};
        j->kernels->conv(&at, u + (size_t)p * ldp, tile_floats(c), m + p * Q3T_BLOCK, ldm, 0, tiles, 0, 1);
    }
    for (int32_t start = i, from = i; i < end; from = i) {
        int32_t rows = next_rows(j, &i, end);
        j->kernels->toom_out(s->y + (size_t)row_at(j, from) * (size_t)c->out + o, (size_t)c->out,
                             m + (size_t)(tile_at(j, from) - tile_at(j, start)) * ldm, c->bias + o, q3t_min(Q3T_BLOCK, c->out - o),
                             c->dilation, rows);
    }
}

/* Number of blocks of at most `most` tiles into which `steps` steps are cut. */
static int32_t blocks_of(const job *j, int32_t steps, int32_t most) {
    return (steps - 1) / (most / j->first->conv->dilation) + 1;
}

/* The part of the scratch that an item may use: one for each worker. If there are more threads than parts of the scratch, one for
 * each item: then there are no more items than parts. */
static float *scratch_of(const job *j, int32_t part, int32_t worker) {
    return j->scratch->parts + (size_t)(j->threads <= j->scratch->count ? worker : part) * j->scratch->part_floats;
}

/* The first item of part i if n items are cut into `of` parts. */
static int32_t share(int32_t n, int32_t i, int32_t of) { return (int32_t)((int64_t)n * i / of); }

/* ------------------------------------------------------------ small weights: split by rows */
/* Item: one of `parts` ranges of steps. Runs both convolutions of the unit on the rows of its steps. */
static void rows_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const job *j = arg;
    const q3t_conv *c = j->first->conv;
    size_t ldp = BLOCK_TILES * tile_floats(c);
    for (int32_t part = begin; part < end; part++) {
        int32_t all = j->frames * j->steps, from = share(all, part, j->parts), n = share(all, part + 1, j->parts) - from;
        float *u = scratch_of(j, part, worker), *m = u + Q3T_TOOM_POINTS * ldp;
        for (int32_t b = 0, of = blocks_of(j, n, BLOCK_TILES); b < of; b++) {
            int32_t i = from + share(n, b, of), next = from + share(n, b + 1, of);
            make_tiles(j, i, next, u, ldp, 0, c->in);
            for (int32_t p = 0; p < q3t_panels(c->out); p++) multiply(j, i, next, u, ldp, p, m);
            q3t_conv_epilogue(j->kernels, j->first, row_at(j, i), row_at(j, next), 0, c->out);
            q3t_conv_rows(j->kernels, j->second, row_at(j, i), row_at(j, next));
        }
    }
}

/* ------------------------------------------------------------ large weights: split by panels */
/* Floats from the tiles at one point to the tiles at the next point. */
static size_t shared_step(const job *j) { return (size_t)j->frames * (size_t)j->tiles * tile_floats(j->first->conv); }

/* Item: frame * slices + slice, where a slice is SLICE channels. Makes the tiles of one frame and one slice. */
static void tiles_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const job *j = arg;
    int32_t in = j->first->conv->in, slices = (in - 1) / SLICE + 1;
    (void)worker;
    for (int32_t item = begin; item < end; item++) {
        int32_t i = item / slices * j->steps, c0 = item % slices * SLICE;
        float *u = j->scratch->shared + (size_t)tile_at(j, i) * tile_floats(j->first->conv);
        make_tiles(j, i, i + j->steps, u, shared_step(j), c0, q3t_min(c0 + SLICE, in));
    }
}

/* Item: one of `parts` ranges of panels. Multiplies all tiles by its panels. */
static void panels_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const job *j = arg;
    const q3t_conv_step *s = j->first;
    int32_t all = j->frames * j->steps, of = blocks_of(j, all, PANEL_TILES);
    for (int32_t part = begin; part < end; part++) {
        float *m = scratch_of(j, part, worker);
        for (int32_t p = share(q3t_panels(s->conv->out), part, j->parts); p < share(q3t_panels(s->conv->out), part + 1, j->parts); p++)
            for (int32_t b = 0; b < of; b++) {
                int32_t i = share(all, b, of), next = share(all, b + 1, of), o = p * Q3T_BLOCK;
                const float *u = j->scratch->shared + (size_t)tile_at(j, i) * tile_floats(s->conv);
                multiply(j, i, next, u, shared_step(j), p, m);
                q3t_conv_epilogue(j->kernels, s, row_at(j, i), row_at(j, next), o, q3t_min(o + Q3T_BLOCK, s->conv->out));
            }
    }
}

void q3t_toom_unit(const q3t_codec *c, const q3t_toom_scratch *scratch, q3t_pool *pool, const q3t_conv_step *first,
                   const q3t_conv_step *second) {
    const q3t_conv *conv = first->conv;
    int32_t threads = q3t_pool_threads(pool), frames = first->rows / first->frame_rows, all = q3t_panels(conv->out);
    int32_t most = threads <= scratch->count ? SHARES * threads : scratch->count;
    size_t bytes = (size_t)q3t_panels(conv->out) * (size_t)(Q3T_TOOM_POINTS * conv->in + second->conv->in) * Q3T_BLOCK * sizeof(float);
    job j = {.kernels = c->kernels, .first = first, .second = second, .scratch = scratch, .frames = frames, .threads = threads,
             .steps = steps_of(first->frame_rows, conv->dilation), .tiles = q3t_toom_tiles(first->frame_rows, conv->dilation)};
    if (bytes <= RESIDENT && frames * j.steps >= 8 * threads) {
        j.parts = q3t_min(most, frames * j.steps);
        q3t_pool_run(pool, j.parts, 1, rows_task, &j);
        return;
    }
    j.parts = threads <= scratch->count ? all : q3t_min(most, all);
    for (int32_t some = shared_frames(conv, first->frame_rows, frames); j.frame < frames; j.frame += some) {
        j.frames = q3t_min(some, frames - j.frame);
        q3t_pool_run(pool, j.frames * ((conv->in - 1) / SLICE + 1), 1, tiles_task, &j);
        q3t_pool_run(pool, j.parts, 1, panels_task, &j);
    }
    q3t_conv_run(c->kernels, pool, second);
}
