/* speech/decode_schedule.h - when the frames of one session are decoded, where the caller did not set the chunk length.
 *
 * The chunk is 1 frame at first, so that the first samples come at once, then 2, 4 and 8 frames. A shorter chunk is
 * decoded if playback could run dry while the next frame is made. Times are seconds of any monotonic clock. */
#ifndef Q3T_SCHEDULE_H
#define Q3T_SCHEDULE_H
#include <stdint.h>

enum { Q3T_STEADY_CHUNK = 8 };  /* frames of the longest chunk */

typedef struct q3t_schedule {
    int32_t chunk;                  /* frames to wait for; 1 at first */
    double frame_seconds;           /* audio in a frame */
    double playback_start;          /* when playback began; moved later by every time that it ran dry */
    double frame_start;             /* when the generation of the next frame began */
    double decode_seconds;          /* the last chunk's decoding time for each of its frames */
} q3t_schedule;

/* A frame was generated at time `now`; `waiting` frames are not decoded yet, `heard` decoded frames are for playback.
 * Returns 1 if the waiting frames should be decoded at once, else 0. */
int q3t_schedule_frame(q3t_schedule *s, double now, int32_t waiting, int32_t heard);
/* A chunk of `frames` frames was decoded at time `now`, in `seconds`; `heard` decoded frames are for playback, these included. */
void q3t_schedule_decoded(q3t_schedule *s, double now, double seconds, int32_t frames, int32_t heard);
#endif
