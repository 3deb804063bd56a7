/* lm/predictor.c - runs the code predictor. Each frame is a sequence of its own, with an empty KV cache:
 *
 *   positions   input                                                   output
 *   0 and 1     project(hidden) and project(codec_embedding[code 0])    head 0 of position 1: code 1
 *   g + 1       project(embeddings[g - 1][code g])                      head g: code g + 1
 *
 * Source: modeling_qwen3_tts.py, Qwen3TTSTalkerCodePredictorModelForConditionalGeneration. */
#include "lm/predictor.h"

void q3t_predictor_carve(q3t_predictor *p, q3t_arena *a) {
    size_t vocab = (size_t)p->code_vocab * sizeof(float);
    p->in = q3t_carve(a, Q3T_COLUMNS, (size_t)p->talker_hidden * sizeof(float));
    p->x = q3t_carve(a, Q3T_COLUMNS, (size_t)p->t.c.hidden * sizeof(float));
    p->logits = q3t_carve(a, Q3T_COLUMNS, vocab);
    p->scratch = q3t_carve(a, 4, vocab);
    p->order = q3t_carve(a, (size_t)p->code_vocab, sizeof(int32_t));
}

/* Project p->in (cols, talker_hidden) and run all layers. Of the output, the rows first, first + stride, first + 2 * stride, ...
 * are normed and moved to the front of p->x. */
static void run(q3t_predictor *p, q3t_workspace *w, const q3t_column *columns, int32_t cols, int32_t first, int32_t stride) {
    size_t hidden = (size_t)p->t.c.hidden, wide = (size_t)p->talker_hidden;
    if (p->projection.data) q3t_linear(w, &p->projection, p->projection_bias, p->in, wide, cols, p->x, hidden);
    else memcpy(p->x, p->in, (size_t)cols * hidden * sizeof(float));
    q3t_transformer_forward(&p->t, w, columns, cols, p->x, stride > 1);
    for (int32_t i = first, to = 0; i < cols; i += stride, to++)
        w->kernels->rmsnorm(p->x + (size_t)to * hidden, p->x + (size_t)i * hidden, p->t.norm, (int32_t)hidden, p->t.c.rms_eps);
}

/* Multiply the first n rows of p->x, one for each frame, by head g, and choose code g + 1 of each frame from the logits. */
static void choose(q3t_predictor *p, q3t_workspace *w, q3t_prediction *frames, int32_t n, int32_t g) {
    int32_t vocab = p->code_vocab;
    q3t_linear(w, &p->heads[g], NULL, p->x, (size_t)p->t.c.hidden, n, p->logits, (size_t)vocab);
    for (int32_t i = 0; i < n; i++) {
        q3t_prediction *f = &frames[i];
        const float *logits = p->logits + (size_t)i * (size_t)vocab;
        memcpy(f->logits + (size_t)g * (size_t)vocab, logits, (size_t)vocab * sizeof(float));
        if (!w->kernels->finite(logits, vocab)) {
            f->status = Q3T_E_PREDICTOR_NONFINITE;
            f->codes[g + 1] = 0;
            continue;
        }
        if (f->forced) {
            f->codes[g + 1] = f->forced[g + 1];
            continue;
        }
        memcpy(p->scratch, logits, (size_t)vocab * sizeof(float));
        double u = f->sampling->greedy ? 0 : q3t_draw(f->seed, f->key, f->frame, (uint32_t)g + 1);
        f->codes[g + 1] = q3t_choose(w->kernels, f->sampling, p->scratch, vocab, u, p->scratch + vocab, p->order);
    }
}

void q3t_predictor_frames(q3t_predictor *p, q3t_workspace *w, q3t_prediction *frames, int32_t n) {
    size_t wide = (size_t)p->talker_hidden;
    q3t_column columns[Q3T_COLUMNS];
    for (int32_t i = 0; i < n; i++) {
        q3t_prediction *f = &frames[i];
        float *row = p->in + 2 * (size_t)i * wide;
        f->status = Q3T_OK;
        memcpy(row, f->hidden, wide * sizeof(float));
        memset(row + wide, 0, wide * sizeof(float));
        q3t_add_row(w->kernels, p->codec_embedding, f->codes[0], row + wide);
        columns[2 * i] = (q3t_column){f->cache, 0};
        columns[2 * i + 1] = (q3t_column){f->cache, 1};
    }
    run(p, w, columns, 2 * n, 1, 2);
    choose(p, w, frames, n, 0);
    for (int32_t g = 1; g < p->code_groups - 1; g++) {
        memset(p->in, 0, (size_t)n * wide * sizeof(float));
        for (int32_t i = 0; i < n; i++) {
            q3t_add_row(w->kernels, &p->embeddings[g - 1], frames[i].codes[g], p->in + (size_t)i * wide);
            columns[i] = (q3t_column){frames[i].cache, g + 1};
        }
        run(p, w, columns, n, 0, 1);
        choose(p, w, frames, n, g);
    }
}
