/* speech/session_decoder.h - the codec's decoder of one session: frames of codes in, samples out of a ring buffer.
 *
 * The session appends frames to an array, and the decoder follows. Without a thread of its own (pipeline 0),
 * q3t_session_decoders_run decodes what is due of several sessions together, on the model's thread pool; with one
 * (pipeline 1), that thread decodes. The samples are the same. */
#ifndef Q3T_SESSION_DECODER_H
#define Q3T_SESSION_DECODER_H
#include "codec/decoder.h"
#include "speech/decode_schedule.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

enum { Q3T_DECODED_TOGETHER = 32 };  /* sessions in one call of q3t_session_decoders_run at most */

typedef struct q3t_session_decoder {
    const q3t_codec *codec;
    q3t_codec_state *state;
    const int32_t *codes;           /* (frames, groups); frames are appended before q3t_session_decoder_push */
    int32_t groups, frame_samples;
    int32_t chunk;                  /* frames decoded at a time; 0: as the schedule says */
    int32_t silent;                 /* leading frames whose samples are dropped: the reference of a cloned voice */
    q3t_schedule schedule;
    int early;                      /* what q3t_schedule_frame returned: decode the waiting frames at once */
    float *ring, *scratch;          /* (capacity,); (longest chunk * frame_samples,) */
    int64_t capacity;
    atomic_int available, decoded;  /* frames in `codes`; of these, decoded */
    atomic_int finished, stop;      /* no more frames will come; the thread must end */
    atomic_int status;              /* q3t_status of the decoding */
    _Atomic int64_t written, read;  /* samples that went into the ring and came out of it since the start */
    double seconds;                 /* decoding time, of chunks decoded together its share; pipeline 0 only */
    int32_t pipeline, started;      /* started: the thread runs */
    pid_t process;                  /* in which the thread was started */
    q3t_codec_work *work;           /* of the thread */
    pthread_t thread;
    pthread_mutex_t mutex;          /* pipeline 1 only */
    pthread_cond_t changed;
} q3t_session_decoder;

/* Carve the ring and the scratch; chunk_frames: of q3t_session_params. */
void q3t_session_decoder_carve(q3t_session_decoder *d, q3t_arena *a, int32_t chunk_frames, int32_t frame_samples);
/* After carving and after the caller has set codec, codes, groups, silent and pipeline. */
q3t_status q3t_session_decoder_open(q3t_session_decoder *d);
/* Stops the thread at the end of its chunk and frees everything. A forked child does not have the thread and only frees. */
void q3t_session_decoder_close(q3t_session_decoder *d);
/* `available` frames are in the array now; finished: 1 if no more will come. */
void q3t_session_decoder_push(q3t_session_decoder *d, int32_t available, int finished);
/* Decode what is due and has room in the ring, of n <= Q3T_DECODED_TOGETHER decoders of one codec; those with a thread are
 * skipped. A failure is in the status of its decoder. */
void q3t_session_decoders_run(q3t_session_decoder *const *decoders, int32_t n, q3t_codec_work *work, q3t_pool *pool);
/* Copy out up to `capacity` samples and return how many; wait: as of q3t_session_read. */
int32_t q3t_session_decoder_read(q3t_session_decoder *d, float *samples, int32_t capacity, int wait);
#endif
