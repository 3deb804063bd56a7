/* check_schedule.c - the decode schedule on a simulated clock: playback that begins with the first chunk never runs dry
 * where the machine is faster than real time, and the chunks are 1, 2, 4, then 8 frames where it is much faster. */
#include "speech/decode_schedule.h"
#include <stdio.h>

enum { FRAMES = 600 };

typedef struct heard {
    int32_t chunks[FRAMES], count; /* frames of each */
    int32_t dry;                   /* times that a chunk came after the end of what was there */
} heard;

/* A frame takes `make` seconds and `jitter` more every seventh; decoding n takes base + n * each. */
static heard play(double make, double jitter, double base, double each) {
    q3t_schedule s = {.chunk = 1, .frame_seconds = 0.08};
    heard h = {.count = 0};
    double at = 100, begun = 0;
    int32_t done = 0;
    for (int32_t frame = 1; frame <= FRAMES; frame++) {
        at += make + (frame % 7 == 3 ? jitter : 0);
        int early = q3t_schedule_frame(&s, at, frame - done, done);
        int32_t n = frame - done >= s.chunk || early ? frame - done : 0;
        if (n == 0) continue;
        at += base + each * n;
        s.frame_start = at;
        if (done == 0) begun = at;
        else if (at - begun > done * s.frame_seconds) h.dry++;
        done += n;
        h.chunks[h.count++] = n;
        q3t_schedule_decoded(&s, at, base + each * n, n, done);
    }
    return h;
}

int main(void) {
    int failures = 0;
    for (int32_t percent = 2; percent <= 95; percent++) {
        for (int32_t share = 0; share <= 10; share += 2) { /* of the decoder, in tenths, a frame at a time */
            double frame = 0.08 * percent / 100, decode = frame * share / 10;
            double make = frame - decode, base = decode / 4, each = decode * 3 / 4;
            heard h = play(make, 0, base, each), jittery = play(0.9 * make, percent < 60 ? 0.4 * make : 0, base, each);
            int steep = h.chunks[0] == 1 && h.chunks[1] == 2 && h.chunks[2] == 4 && h.chunks[3] == 8 && h.chunks[4] == 8;
            int late = 0;
            for (int32_t i = h.count - 4; i < h.count; i++) late += h.chunks[i] >= 6;
            if (h.dry || jittery.dry || (percent <= 25 && !steep) || h.chunks[0] != 1 || (percent <= 90 && late < 3)) {
                printf("  FAIL at %d %% of real time, decoder %d0 %%: dry %d and %d, chunks %d %d %d %d\n", (int)percent, (int)share, (int)h.dry,
                       (int)jittery.dry, (int)h.chunks[0], (int)h.chunks[1], (int)h.chunks[2], (int)h.chunks[3]);
                failures++;
            }
        }
    }
    heard slow = play(0.15, 0, 0.01, 0.01); /* slower than speech: no chunk helps, so the decoder has its best ones */
    if (slow.chunks[2] != 4 || slow.chunks[5] != 8) {
        printf("  FAIL slower than speech: chunks %d, then %d\n", (int)slow.chunks[2], (int)slow.chunks[5]);
        failures++;
    }
    printf("%d failed\n", failures);
    return failures != 0;
}
