/* conv/run.h - runs causal convolutions of rows, (rows, channels) float32, on the thread pool. Each is followed by an epilogue,
 * which is applied element by element while the output is in the cache.
 *
 * The output bits depend neither on the number of threads nor on how the work is split: see kernels/table.h. */
#ifndef Q3T_CONV_RUN_H
#define Q3T_CONV_RUN_H
#include "base/pool.h"
#include "kernels/table.h"

/* What is done with the output y of a convolution. residual and out have the rows, columns and row stride of y. */
typedef enum q3t_epilogue {
    Q3T_EPILOGUE_NONE,
    Q3T_EPILOGUE_ELU,          /* y = elu(y) */
    Q3T_EPILOGUE_RELU,
    Q3T_EPILOGUE_GELU,
    Q3T_EPILOGUE_TANH_RELU,    /* y = tanh(relu(y)) */
    Q3T_EPILOGUE_SNAKE,        /* out = snake(y); out may be y */
    Q3T_EPILOGUE_ADD,          /* residual += y */
    Q3T_EPILOGUE_ADD_SNAKE,    /* residual += y; out = snake(residual); out may be y */
    Q3T_EPILOGUE_ADD_SCALED    /* residual += scale * y */
} q3t_epilogue;

typedef struct q3t_snake {     /* SnakeBeta: x + inv_beta * sin(alpha * x)^2; alpha and inv_beta: (channels,) */
    const float *alpha, *inv_beta;
} q3t_snake;

/* Rows of several streams, one stream after the other: stream i has the frames [first[i], first[i + 1]). */
typedef struct q3t_streams {
    int32_t count;
    const int32_t *first;      /* (count + 1,) */
} q3t_streams;

typedef struct q3t_conv_step {
    const q3t_conv *conv;
    const float *x;            /* input rows; starts at the oldest row that output row 0 reads */
    size_t ldx;                /* floats from one input row to the next */
    float *y;                  /* output (rows, conv->out); must not overlap x */
    size_t ldy;                /* floats from one row of y, residual and out to the next; 0: conv->out */
    int32_t rows;              /* output rows, of all streams */
    q3t_epilogue epilogue;
    float *residual, *out;
    const float *scale;        /* (conv->out,) */
    q3t_snake snake;
    int32_t channels;          /* channels of `snake`; conv->out is a multiple of it, and snake repeats along a row */
    const q3t_streams *streams;    /* NULL: one stream */
    int32_t frame_rows;            /* output rows of a frame; used only if streams is not NULL or conv->points is not 0 */
    size_t x_gap, y_gap, out_gap;  /* floats between the rows of one stream and of the next in x, y and out: room for a history */
} q3t_conv_step;

/* Run a step on the pool. */
void q3t_conv_run(const q3t_kernels *k, q3t_pool *pool, const q3t_conv_step *step);
/* Run two steps with the same rows; the second has one tap and may read the output of the first. A range of rows may go through
 * both steps before the next range. */
void q3t_conv_run_pair(const q3t_kernels *k, q3t_pool *pool, const q3t_conv_step *first, const q3t_conv_step *second);

/* Compute the output rows [t0, t1) of a step, with the epilogue, on the calling thread. */
void q3t_conv_rows(const q3t_kernels *k, const q3t_conv_step *step, int32_t t0, int32_t t1);
/* Apply only the epilogue of a step to the columns [n0, n1) of the rows [t0, t1) of one stream. */
void q3t_conv_epilogue(const q3t_kernels *k, const q3t_conv_step *step, int32_t t0, int32_t t1, int32_t n0, int32_t n1);
#endif
