/* speech/session_decoder.h - the decoder of one session: decodes the session's frames into a ring buffer of samples.
 *
 * The session appends frames of codes to an array, and the decoder decodes them when the decode schedule says so. If the session
 * has no decoder thread (pipeline 0), q3t_session_decoders_run decodes the due frames of several sessions together, on the model's
 * thread pool. If it has one (pipeline 1), that thread decodes. The samples are the same. */
#ifndef Q3T_SESSION_DECODER_H
#define Q3T_SESSION_DECODER_H
#include "codec/decoder.h"
#include "speech/decode_schedule.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

enum { Q3T_DECODED_TOGETHER = 32 };  /* most sessions in one call of q3t_session_decoders_run */

typedef struct q3t_session_decoder {
    const q3t_codec *codec;
    q3t_codec_state *state;
    const int32_t *codes;           /* (frames, groups); frames are appended before q3t_session_decoder_push */
    int32_t groups, frame_samples;
    int32_t chunk;                  /* frames in a chunk; 0: the schedule decides */
    int32_t silent;                 /* leading frames whose samples are dropped: the reference of a cloned voice */
    q3t_schedule schedule;
    int early;                      /* what q3t_schedule_frame returned: decode the waiting frames at once */
    float *ring, *scratch;          /* (capacity,); (frames of the longest chunk * frame_samples,) */
    int64_t capacity;               /* samples */
    atomic_int available, decoded;  /* frames in `codes`; decoded frames */
    atomic_int flush, stop;         /* 1: no more frames will come, or not soon: decode all; 1: the thread must end */
    atomic_int status;              /* q3t_status of the decoding */
    _Atomic int64_t written, read;  /* samples put into the ring and taken out of it since the start */
    double seconds;                 /* decoding time; of chunks decoded together, this session's share; pipeline 0 only */
    int32_t pipeline, started;      /* started: 1 if the thread runs */
    pid_t process;                  /* process in which the thread was started */
    q3t_codec_work *work;           /* scratch of the thread */
    pthread_t thread;
    pthread_mutex_t mutex;          /* pipeline 1 only */
    pthread_cond_t changed;
} q3t_session_decoder;

/* Carve the ring and the scratch. chunk_frames: the field of q3t_session_params. frame_samples: samples in a frame. */
void q3t_session_decoder_carve(q3t_session_decoder *d, q3t_arena *a, int32_t chunk_frames, int32_t frame_samples);
/* Make the state of the stream and, with pipeline 1, start the thread. Called after carving, and after the caller has set codec,
 * codes, groups, silent and pipeline. Returns Q3T_E_SIZE, Q3T_E_MEMORY or Q3T_E_THREAD on failure. */
q3t_status q3t_session_decoder_open(q3t_session_decoder *d);
/* Bytes that q3t_session_decoder_open allocates for a decoder of the codec; pipeline: as in q3t_session_params. */
size_t q3t_session_decoder_bytes(const q3t_codec *codec, int32_t pipeline);
/* Stop the thread at the end of its chunk and free everything. In a forked child the thread does not exist and is not stopped. */
void q3t_session_decoder_close(q3t_session_decoder *d);
/* Tell the decoder that the array has `available` frames now. flush: 1 if no more frames will come, or not soon: then the frames
 * that wait are decoded. */
void q3t_session_decoder_push(q3t_session_decoder *d, int32_t available, int flush);
/* Tell the schedule that the generation of the next frame begins now, after a time in which none was generated. */
void q3t_session_decoder_resume(q3t_session_decoder *d);
/* Decode the frames of n <= Q3T_DECODED_TOGETHER decoders of one codec that are due and have room in the ring. Decoders with a
 * thread are skipped. most >= 0: about so many frames are decoded, besides those that playback needs at once; INT32_MAX: all, and
 * what is due soon together with it. *rows: in and out, the budget for silent frames, in prompt rows that would take as long; a decoder takes in
 * silent frames while *rows > 0. Returns the number of silent frames taken in. If decoding fails, the decoder's field `status` says
 * why. */
int32_t q3t_session_decoders_run(q3t_session_decoder *const *decoders, int32_t n, q3t_codec_work *work, q3t_pool *pool, int32_t *rows,
                                 int32_t most);
/* Returns how much of the budget the silent frames that are left take; 0 for a decoder with a thread. */
int32_t q3t_session_decoder_reference_rows(const q3t_session_decoder *d);
/* Copy up to `capacity` samples from the ring to samples. Returns how many. wait: as in q3t_session_read. */
int32_t q3t_session_decoder_read(q3t_session_decoder *d, float *samples, int32_t capacity, int wait);
#endif
