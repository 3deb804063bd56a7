/* speech/decode_schedule.h - the decode schedule: decides when the frames of one session are decoded, if the caller did not set
 * the chunk length.
 *
 * The first chunk has 1 frame, so that the first samples come at once; the next chunks have 2, 4 and then 8 frames. A shorter
 * chunk is decoded if playback could run dry while the next frame is generated. Times are seconds of any monotonic clock. */
#ifndef Q3T_SCHEDULE_H
#define Q3T_SCHEDULE_H
#include <stdint.h>

enum { Q3T_STEADY_CHUNK = 8 };  /* frames of the longest chunk */

typedef struct q3t_schedule {
    int32_t chunk;                  /* frames in the next chunk; the caller sets it to 1 at first */
    double frame_seconds;           /* seconds of audio in a frame */
    double playback_start;          /* when playback began; moved later by every time that it ran dry */
    double frame_start;             /* when the generation of the next frame began */
    double decode_seconds;          /* decoding time of the last chunk, divided by its frames */
} q3t_schedule;

/* Tell the schedule that a frame was generated at time `now`. waiting: frames that are not decoded yet; heard: decoded frames that
 * are played, which excludes a reference. Returns 1 if the waiting frames should be decoded at once, else 0. */
int q3t_schedule_frame(q3t_schedule *s, double now, int32_t waiting, int32_t heard);
/* Tell the schedule that a chunk of `frames` frames was decoded at time `now`, in `seconds`. heard: decoded frames that are played,
 * this chunk included. */
void q3t_schedule_decoded(q3t_schedule *s, double now, double seconds, int32_t frames, int32_t heard);
#endif
