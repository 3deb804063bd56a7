/* codec/decoder.h - the streaming decoder of the codec: it turns frames of codes into samples.
 *
 * A stream is a sequence of frames that belong together, for example an utterance. The decoder is causal and exact: however the
 * frames of a stream are split into calls, and whatever other streams are decoded in the same calls, the samples have the same
 * bits. q3t_codec holds the packed weights, q3t_codec_state the history that one stream carries from call to call,
 * q3t_codec_work the scratch.
 * Source: modeling_qwen3_tts_tokenizer_v2.py, Qwen3TTSTokenizerV2Decoder. */
#ifndef Q3T_CODEC_H
#define Q3T_CODEC_H
#include "base/arena.h"
#include "kernels/table.h"
#include "base/pool.h"
#include "checkpoint/weights.h"

enum { Q3T_CODEC_MAX_CHUNK = 64,       /* largest chunk_frames of q3t_session_params */
       Q3T_CODEC_STREAM_FRAMES = 8,    /* largest number of frames of one stream that are decoded at a time */
       Q3T_CODEC_BATCH_FRAMES = 32 };  /* largest number of frames of all streams that are decoded at a time */

typedef struct q3t_codec q3t_codec;              /* packed weights; immutable once open */
typedef struct q3t_codec_state q3t_codec_state;  /* the history of one stream */
typedef struct q3t_codec_work q3t_codec_work;    /* scratch */

/* Pack the weights on the pool into `packed`; if `packed` is NULL, into memory that the codec owns. If `weights` is NULL,
 * `packed` already holds packed weights and is only read. packed: q3t_codec_packed_bytes bytes, 64-byte aligned. packed and
 * kernels must outlive the codec, config and weights need not. Returns Q3T_E_ARGUMENT, Q3T_E_SIZE or Q3T_E_MEMORY on failure. */
q3t_status q3t_codec_open(const q3t_config *config, const q3t_weights *weights, void *packed, const q3t_kernels *kernels,
                          q3t_pool *pool, q3t_codec **codec);
void q3t_codec_close(q3t_codec *codec);
/* Bytes of the packed weights: one block without pointers, which any process may map at any address. */
q3t_status q3t_codec_packed_bytes(const q3t_config *config, size_t *bytes);
/* Make the state of a stream before its first frame. Returns Q3T_E_SIZE or Q3T_E_MEMORY on failure. */
q3t_status q3t_codec_state_open(const q3t_codec *codec, q3t_codec_state **state);
void q3t_codec_state_close(q3t_codec_state *state);
/* Bytes that q3t_codec_state_open allocates. */
size_t q3t_codec_state_bytes(const q3t_codec *codec);
/* Make scratch to decode up to `frames` frames of all streams at a time, 1 .. Q3T_CODEC_BATCH_FRAMES. Only one call at a time
 * may use it. Returns Q3T_E_ARGUMENT, Q3T_E_SIZE or Q3T_E_MEMORY on failure. */
q3t_status q3t_codec_work_open(const q3t_codec *codec, int32_t frames, q3t_codec_work **work);
void q3t_codec_work_close(q3t_codec_work *work);
/* Bytes that q3t_codec_work_open allocates. */
size_t q3t_codec_work_bytes(const q3t_codec *codec, int32_t frames);

typedef struct q3t_codec_call {
    q3t_codec_state *state;
    const int32_t *codes;        /* (frames, code_groups), each 0 .. codebook_size - 1 */
    int32_t frames;              /* >= 1 */
    float *samples;              /* out: (frames * samples of a frame,), clamped to [-1, 1] */
    int32_t done;                /* out: number of frames decoded; equals `frames` if the status is Q3T_OK */
    q3t_status status;           /* out: Q3T_E_CODEC_NONFINITE if a sample was NaN or infinite before it was clamped */
} q3t_codec_call;

/* Decode the next frames of n different streams: calls (n,). The streams are decoded together, so that the weights are read
 * once for all of them. pool NULL: on the calling thread alone. */
void q3t_codec_run(const q3t_codec *codec, q3t_codec_work *work, q3t_pool *pool, q3t_codec_call *calls, int32_t n);
/* Skip the next frames of a stream: only the transformer runs, because its window is long, and no samples are computed
 * (call->samples is not used). Let f be the last skipped frame. From frame f + q3t_codec_reach on, the samples have the bits
 * that they have without skipping. */
void q3t_codec_skip(const q3t_codec *codec, q3t_codec_work *work, q3t_pool *pool, q3t_codec_call *call);
/* Returns how many frames before a frame change its samples through the convolutions after the transformer. */
int32_t q3t_codec_reach(const q3t_codec *codec);
#endif
