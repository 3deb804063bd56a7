/* codec/standalone.c - public functions that use the codec's decoder without a model: q3t_decoder decodes one stream, and
 * q3t_pack_codec packs the decoder's weights before a model is opened with them. */
#include "codec/decoder.h"
#include <stdlib.h>

struct q3t_decoder {
    q3t_config config;
    q3t_kernels kernels;
    q3t_weights weights;
    q3t_pool *pool;
    q3t_codec *codec;
    q3t_codec_work *work;
    q3t_codec_state *state;      /* state of the current stream; NULL before the first stream */
};

static q3t_status open_parts(q3t_decoder *d, const q3t_tensor *tensors, size_t count, int32_t threads) {
    Q3T_TRY(q3t_codec_weights_open(&d->config, tensors, count, &d->weights));
    Q3T_TRY(q3t_pool_open(threads, &d->pool));
    Q3T_TRY(q3t_codec_open(&d->config, &d->weights, NULL, &d->kernels, d->pool, &d->codec));
    return q3t_codec_work_open(d->codec, Q3T_CODEC_STREAM_FRAMES, &d->work);
}

q3t_status q3t_decoder_open(const q3t_config *config, const q3t_tensor *tensors, size_t count, const q3t_model_options *options,
                            q3t_decoder **decoder) {
    if (!config || !tensors || !options || !decoder || options->threads < 1 || options->codec) return Q3T_E_ARGUMENT;
    Q3T_TRY(q3t_codec_config_check(config));
    q3t_decoder *d = calloc(1, sizeof *d);
    if (!d) return Q3T_E_MEMORY;
    d->config = *config;
    q3t_kernels_init(&d->kernels, q3t_cpu_flags() & options->cpu_mask);
    q3t_status status = open_parts(d, tensors, count, options->threads);
    if (status != Q3T_OK) {
        q3t_decoder_close(d);
        return status;
    }
    *decoder = d;
    return Q3T_OK;
}

void q3t_decoder_close(q3t_decoder *d) {
    if (!d) return;
    q3t_codec_state_close(d->state);
    q3t_codec_work_close(d->work);
    q3t_codec_close(d->codec);
    q3t_pool_close(d->pool);
    q3t_weights_close(&d->weights);
    free(d);
}

q3t_status q3t_decoder_run(q3t_decoder *d, int32_t restart, const int32_t *codes, int32_t frames, float *samples) {
    if (!d || !codes || !samples || frames < 1 || frames > Q3T_CODEC_MAX_CHUNK || restart < 0 || restart > 1) return Q3T_E_ARGUMENT;
    for (size_t i = 0; i < (size_t)frames * (size_t)d->config.code_groups; i++)
        if (codes[i] < 0 || codes[i] >= d->config.codebook_size) return Q3T_E_ARGUMENT;
    Q3T_TRY(q3t_pool_ready(d->pool));
    if (restart || !d->state) {
        q3t_codec_state_close(d->state);
        d->state = NULL;
        Q3T_TRY(q3t_codec_state_open(d->codec, &d->state));
    }
    q3t_codec_call call = {.state = d->state, .codes = codes, .frames = frames, .samples = samples};
    q3t_codec_run(d->codec, d->work, d->pool, &call, 1);
    return call.status;
}

q3t_status q3t_pack_codec_bytes(const q3t_config *config, size_t *bytes) {
    if (!config || !bytes) return Q3T_E_ARGUMENT;
    Q3T_TRY(q3t_codec_config_check(config));
    return q3t_codec_packed_bytes(config, bytes);
}

q3t_status q3t_pack_codec(const q3t_config *config, const q3t_tensor *tensors, size_t count, int32_t threads, void *packed) {
    q3t_weights weights = {0};
    q3t_pool *pool = NULL;
    q3t_codec *codec = NULL;
    if (!config || !tensors || !packed || threads < 1) return Q3T_E_ARGUMENT;
    Q3T_TRY(q3t_codec_config_check(config));
    q3t_status status = q3t_codec_weights_open(config, tensors, count, &weights);
    if (status == Q3T_OK) status = q3t_pool_open(threads, &pool);
    if (status == Q3T_OK) status = q3t_codec_open(config, &weights, packed, NULL, pool, &codec);
    q3t_codec_close(codec);
    q3t_pool_close(pool);
    q3t_weights_close(&weights);
    return status;
}
