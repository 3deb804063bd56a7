/* speech/decode_schedule.c - see speech/decode_schedule.h. */
#include "speech/decode_schedule.h"

static const double MARGIN = 1.5;  /* of the time to generate one more frame and to decode all that waits then */

int q3t_schedule_frame(q3t_schedule *s, double now, int32_t waiting, int32_t heard) {
    double generation = now - s->frame_start, lead = heard * s->frame_seconds - (now - s->playback_start);
    s->frame_start = now;
    if (heard <= 0) return 0;
    if (lead < 0) {
        s->playback_start -= lead;
        lead = 0;
    }
    /* slower than real time no chunk length helps */
    return generation + s->decode_seconds < s->frame_seconds && lead < MARGIN * (generation + (waiting + 1) * s->decode_seconds);
}

void q3t_schedule_decoded(q3t_schedule *s, double now, double seconds, int32_t frames, int32_t heard) {
    s->decode_seconds = seconds / frames;
    if (heard == frames) s->playback_start = now;
    if (frames >= s->chunk && s->chunk < Q3T_STEADY_CHUNK) s->chunk *= 2;
}
