/* codec.h - the streaming speech decoder: frames of codes to samples.
 *
 * Exact and causal: any split of the frames into calls gives the same samples
 * as one call. Weights are packed once (q3t_codec); the tails that one stream
 * carries between calls are its q3t_codec_state. */
#ifndef Q3T_CODEC_H
#define Q3T_CODEC_H
#include "arena.h"
#include "kernels.h"
#include "pool.h"
#include "weights.h"

enum { Q3T_CODEC_MAX_CHUNK = 64 };

typedef struct q3t_codec q3t_codec;              /* packed weights; const after open */
typedef struct q3t_codec_state q3t_codec_state;  /* the tails of one stream */

/* Pack the weights, in parallel on the pool, into `packed`, or where it is NULL into memory of its own. weights NULL: they
 * are in `packed` already and only read. packed is 64-byte aligned, q3t_codec_packed_bytes long, and outlives the codec, as
 * kernels do; config and weights need not. */
q3t_status q3t_codec_open(const q3t_config *config, const q3t_weights *weights, void *packed, const q3t_kernels *kernels,
                          q3t_pool *pool, q3t_codec **codec);
void q3t_codec_close(q3t_codec *codec);
/* Bytes of the packed weights: one block without a pointer in it, which any process may map anywhere. */
q3t_status q3t_codec_packed_bytes(const q3t_config *config, size_t *bytes);
/* Memory that the codec owns. */
size_t q3t_codec_bytes(const q3t_codec *codec);
/* A stream that decodes at most max_chunk frames a call, before its first frame. */
q3t_status q3t_codec_state_open(const q3t_codec *codec, int32_t max_chunk, q3t_codec_state **state);
void q3t_codec_state_close(q3t_codec_state *state);
/* Decode the next `frames` (1 .. max_chunk) of the stream. codes: (frames, code_groups) int32 in range;
 * samples: (frames * samples per frame,), clamped to [-1, 1]. pool NULL: on the caller alone, same bits.
 * Q3T_E_CODEC_NONFINITE when a sample is NaN or infinite before the clamp. */
q3t_status q3t_codec_run(const q3t_codec *codec, q3t_codec_state *state, q3t_pool *pool, const int32_t *codes, int32_t frames,
                         float *samples);
/* Take in the next frames (1 .. max_chunk), whose samples nobody wants: of the work only the transformer's is done, which
 * looks far back. Samples are right again once q3t_codec_reach frames have been decoded after the last skipped one. */
void q3t_codec_skip(const q3t_codec *codec, q3t_codec_state *state, q3t_pool *pool, const int32_t *codes, int32_t frames);
/* How many frames back the convolutions behind the transformer see. */
int32_t q3t_codec_reach(const q3t_codec *codec);
#endif
