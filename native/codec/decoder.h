/* codec/decoder.h - the streaming speech decoder: frames of codes to samples.
 *
 * Exact and causal: any split of the frames into calls, with any other streams
 * beside them, gives the same samples as one call. Weights are packed once
 * (q3t_codec); the tails that one stream carries between calls are its
 * q3t_codec_state; everything else is scratch (q3t_codec_work). */
#ifndef Q3T_CODEC_H
#define Q3T_CODEC_H
#include "base/arena.h"
#include "kernels/table.h"
#include "base/pool.h"
#include "checkpoint/weights.h"

enum { Q3T_CODEC_MAX_CHUNK = 64, /* of q3t_session_params */
       Q3T_CODEC_PIECE = 8,      /* frames of a stream worked on at a time */
       Q3T_CODEC_FRAMES = 32 };  /* of all streams */

typedef struct q3t_codec q3t_codec;              /* packed weights; const after open */
typedef struct q3t_codec_state q3t_codec_state;  /* the tails of one stream */
typedef struct q3t_codec_work q3t_codec_work;    /* scratch */

/* Pack the weights, in parallel on the pool, into `packed`, or where it is NULL into memory of its own. weights NULL: they
 * are in `packed` already and only read. packed is 64-byte aligned, q3t_codec_packed_bytes long, and outlives the codec, as
 * kernels do; config and weights need not. */
q3t_status q3t_codec_open(const q3t_config *config, const q3t_weights *weights, void *packed, const q3t_kernels *kernels,
                          q3t_pool *pool, q3t_codec **codec);
void q3t_codec_close(q3t_codec *codec);
/* Bytes of the packed weights: one block without a pointer in it, which any process may map anywhere. */
q3t_status q3t_codec_packed_bytes(const q3t_config *config, size_t *bytes);
/* A stream before its first frame. */
q3t_status q3t_codec_state_open(const q3t_codec *codec, q3t_codec_state **state);
void q3t_codec_state_close(q3t_codec_state *state);
/* The rows that are worked on: of up to `frames` (1 .. Q3T_CODEC_FRAMES) at a time, of any streams. One call uses it at a time. */
q3t_status q3t_codec_work_open(const q3t_codec *codec, int32_t frames, q3t_codec_work **work);
void q3t_codec_work_close(q3t_codec_work *work);

typedef struct q3t_codec_call {
    q3t_codec_state *state;
    const int32_t *codes;        /* (frames, code_groups) int32 in range */
    int32_t frames;              /* >= 1 */
    float *samples;              /* (frames * samples per frame,), clamped to [-1, 1] */
    int32_t done;                /* set: frames of them; all where the status is Q3T_OK */
    q3t_status status;           /* set: Q3T_E_CODEC_NONFINITE when a sample was NaN or infinite before the clamp */
} q3t_codec_call;

/* Decode the next frames of n streams, all different: their weights are read once for all. The same bits as one by one, and
 * with pool NULL, on the caller alone. */
void q3t_codec_run(const q3t_codec *codec, q3t_codec_work *work, q3t_pool *pool, q3t_codec_call *calls, int32_t n);
/* Take in the next frames of a stream, whose samples nobody wants: of the work only the transformer's is done, which looks far
 * back. Samples are right again once q3t_codec_reach frames have been decoded after the last skipped one. */
void q3t_codec_skip(const q3t_codec *codec, q3t_codec_work *work, q3t_pool *pool, q3t_codec_call *call);
/* How many frames back the convolutions behind the transformer see. */
int32_t q3t_codec_reach(const q3t_codec *codec);
#endif
