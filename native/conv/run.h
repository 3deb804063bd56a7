/* conv/run.h - causal convolutions over channel-last rows, (rows, channels) float32, on the thread pool; each followed by
 * an epilogue, which is applied element by element while the output is in the cache.
 *
 * The output bits depend neither on the number of threads nor on how the work is split: see kernels/table.h. */
#ifndef Q3T_CONV_RUN_H
#define Q3T_CONV_RUN_H
#include "base/pool.h"
#include "kernels/table.h"

/* What is done with the output y. residual and out have the rows, columns and row stride of y. */
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

typedef struct q3t_snake {     /* SnakeBeta: x + inv_beta * sin(alpha * x)^2; (channels,) each */
    const float *alpha, *inv_beta;
} q3t_snake;

/* Rows of several streams, one stream after the other: stream i has the frames [first[i], first[i + 1]). */
typedef struct q3t_streams {
    int32_t count;
    const int32_t *first;      /* (count + 1,) */
} q3t_streams;

typedef struct q3t_conv_step {
    const q3t_conv *conv;
    const float *x;            /* the oldest row that output row 0 reads */
    size_t ldx;                /* floats from one input row to the next */
    float *y;                  /* (rows, conv->out); not x */
    size_t ldy;                /* floats from one row of y, residual and out to the next; 0: conv->out */
    int32_t rows;
    q3t_epilogue epilogue;
    float *residual, *out;
    const float *scale;        /* (conv->out,) */
    q3t_snake snake;
    int32_t channels;          /* of snake, which repeats along a row; conv->out is a multiple */
    const q3t_streams *streams;    /* NULL: one stream */
    int32_t frame_rows;            /* output rows of a frame; of the steps with streams or conv->points */
    size_t x_gap, y_gap, out_gap;  /* floats between the rows of two streams in x, y and out: the history in a window */
} q3t_conv_step;

void q3t_conv_run(const q3t_kernels *k, q3t_pool *pool, const q3t_conv_step *step);
/* Two steps of the same rows, the second with one tap: it may begin on a range of rows that the first has finished. */
void q3t_conv_run_pair(const q3t_kernels *k, q3t_pool *pool, const q3t_conv_step *first, const q3t_conv_step *second);

/* Rows [t0, t1) of a step, and its epilogue, on the calling thread. */
void q3t_conv_rows(const q3t_kernels *k, const q3t_conv_step *step, int32_t t0, int32_t t1);
/* The epilogue alone, for the columns [n0, n1) of the rows [t0, t1) of one stream. */
void q3t_conv_epilogue(const q3t_kernels *k, const q3t_conv_step *step, int32_t t0, int32_t t1, int32_t n0, int32_t n1);
#endif
