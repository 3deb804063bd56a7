/* speech/decode_schedule.c - decides after each generated frame whether the waiting frames must be decoded at once, so that
 * playback does not run dry, and sets the length of the next chunk. */
#include "speech/decode_schedule.h"

/* Playback should be ahead by MARGIN times the seconds to generate one more frame and to decode all frames that wait then. */
static const double MARGIN = 1.5;

int q3t_schedule_frame(q3t_schedule *s, double now, int32_t waiting, int32_t heard) {
    double generation = now - s->frame_start, lead = heard * s->frame_seconds - (now - s->playback_start);
    s->frame_start = now;
    if (heard <= 0) return 0;
    if (lead < 0) {
        s->playback_start -= lead;
        lead = 0;
    }
    /* a machine that is slower than playback runs dry with any chunk length */
    return generation + s->decode_seconds < s->frame_seconds && lead < MARGIN * (generation + (waiting + 1) * s->decode_seconds);
}

void q3t_schedule_decoded(q3t_schedule *s, double now, double seconds, int32_t frames, int32_t heard) {
    s->decode_seconds = seconds / frames;
    if (heard == frames) s->playback_start = now;
    if (frames >= s->chunk && s->chunk < Q3T_STEADY_CHUNK) s->chunk *= 2;
}
