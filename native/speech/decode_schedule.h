/* speech/decode_schedule.h - the decoder behind one session: frames of codes in, samples out of a bounded ring.
 *
 * The frames lie in an array that the session appends to; the stage follows at
 * its own pace. Slice: q3t_stages_run decodes what is due of several sessions
 * together, on the caller's pool. Pipeline: a thread of its own does, on one
 * core. The same samples either way. */
#ifndef Q3T_STAGE_H
#define Q3T_STAGE_H
#include "codec/decoder.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

enum { Q3T_STAGES = 32 };  /* run together at most */

/* When to decode, where nobody fixed the chunk: 1 frame, so that sound begins at once, then 2, 4 and 8; fewer as soon as
 * waiting for another frame could let what has been decoded be played to its end. `at`: seconds of any clock. */
typedef struct q3t_schedule {
    int32_t chunk;                  /* frames to wait for, 1 at first */
    double frame;                   /* length of a frame */
    double origin;                  /* when playing began, later by every time it ran dry */
    double begun;                   /* since when the next frame is being made */
    double cost;                    /* of decoding a frame */
} q3t_schedule;

/* A frame has come, `waiting` are not decoded, `heard` are: 1 if those should be decoded at once. */
int q3t_schedule_push(q3t_schedule *s, double at, int32_t waiting, int32_t heard);
/* `frames` more have been decoded in `seconds`, `heard` in all. */
void q3t_schedule_decoded(q3t_schedule *s, double at, double seconds, int32_t frames, int32_t heard);

typedef struct q3t_stage {
    const q3t_codec *codec;
    q3t_codec_state *state;
    const int32_t *codes;           /* (frames, groups), appended to before q3t_stage_push tells */
    int32_t groups, frame_samples, chunk;
    int32_t silent;                 /* leading frames whose samples are dropped: the reference of a clone */
    q3t_schedule schedule;
    int early;                      /* decode what waits: q3t_schedule_push said so */
    float *ring, *scratch;          /* (capacity,) and one chunk */
    int64_t capacity;
    atomic_int available, decoded;  /* frames */
    atomic_int finished, stop, status;
    _Atomic int64_t written, read;  /* samples, ever growing */
    double seconds;                 /* spent decoding, its share of what was decoded together; slice mode only */
    int32_t pipeline, started;
    pid_t process;                  /* of the thread */
    q3t_codec_work *work;           /* of the thread */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
} q3t_stage;

/* Longest chunk for a chunk_frames of q3t_session_params. */
int32_t q3t_stage_chunk(int32_t chunk_frames);
void q3t_stage_carve(q3t_stage *s, q3t_arena *a, int32_t chunk_frames, int32_t frame_samples);
/* After carving; the fields codec, codes, groups, silent and pipeline are set by the caller. */
q3t_status q3t_stage_open(q3t_stage *s);
/* Stops the thread, whatever it is doing. In a forked child, which does not have it, only memory is freed. */
void q3t_stage_close(q3t_stage *s);
/* `available` frames are there now; finished: no more will come. */
void q3t_stage_push(q3t_stage *s, int32_t available, int finished);
/* Decode what is due and has room of those (n <= Q3T_STAGES) in slice mode. A status is in the stage. */
void q3t_stages_run(q3t_stage *const *stages, int32_t n, q3t_codec_work *work, q3t_pool *pool);
/* Copy out up to capacity samples; wait as in q3t_session_read. */
int32_t q3t_stage_read(q3t_stage *s, float *samples, int32_t capacity, int wait);
#endif
