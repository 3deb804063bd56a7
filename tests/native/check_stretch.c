/* check_stretch.c - checks the time stretch: length, pitch and smoothness of tones, output that does not depend on the cuts of the
 * input, latency, odd samples, wrong arguments. */
#include "q3t.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 48000, LATENCY = 930, ROOM = 4 * N + 1 };
static const double speeds[] = {0.25, 0.5, 0.8, 0.97, 1.003, 1.25, 1.5, 2, 3.1, 4};
enum { SPEEDS = sizeof speeds / sizeof *speeds };
static float input[N], output[ROOM], other[ROOM];
static int failures;

static void expect(int ok, const char *what, double speed, double value) {
    if (ok) return;
    failures++;
    printf("  FAIL %s, speed %g: %g\n", what, speed, value);
}

static uint32_t random_below(uint32_t *state, uint32_t n) {
    *state = *state * 1664525 + 1013904223;
    return (*state >> 8) % n;
}

/* Stretch n samples of the input in cuts of at most `in` samples, reading at most `room` samples at a time; both are drawn if
 * `state` is not NULL. Returns the number of output samples, -1 on failure. */
static int32_t stretch(double speed, int32_t n, int32_t in, int32_t room, uint32_t *state, float *out) {
    q3t_stretch *s = NULL;
    int32_t used, count, made = 0, at = 0;
    if (q3t_stretch_open(speed, &s) != Q3T_OK) return -1;
    do {
        int32_t cut = state ? (int32_t)random_below(state, (uint32_t)in + 1) : in, take = cut < n - at ? cut : n - at;
        int32_t capacity = state ? 1 + (int32_t)random_below(state, (uint32_t)room) : room;
        if (capacity > ROOM - made) capacity = ROOM - made;
        q3t_status status = q3t_stretch_run(s, input + at, take, &used, out + made, capacity, &count);
        expect(status == Q3T_OK && used <= take && count <= capacity && (count == capacity || used == take), "run", speed, at);
        at += used;
        made += count;
        expect(made <= at / speed, "more output than n / speed", speed, made - at / speed);
        if (count < capacity) expect(made >= (at - LATENCY) / speed - 1, "late output", speed, (at - LATENCY) / speed - made);
    } while (at < n);
    do {
        int32_t capacity = room < ROOM - made ? room : ROOM - made;
        expect(q3t_stretch_finish(s, out + made, capacity, &count) == Q3T_OK, "finish", speed, made);
        made += count;
        if (count < capacity) break;
    } while (made < ROOM);
    expect(q3t_stretch_run(s, input, 1, &used, out, 1, &count) == Q3T_E_ARGUMENT, "run after finish", speed, 0);
    q3t_stretch_close(s);
    return made;
}

/* The frequency of a tone by its rising zero crossings, between which it is interpolated. */
static double frequency(const float *x, int32_t n) {
    double first = -1, last = -1;
    int32_t periods = -1;
    for (int32_t i = 1; i < n; i++)
        if (x[i - 1] < 0 && x[i] >= 0) {
            last = i - x[i] / (double)(x[i] - x[i - 1]);
            if (first < 0) first = last;
            periods++;
        }
    return periods < 1 ? 0 : Q3T_SAMPLE_RATE * periods / (last - first);
}

static double largest_step(const float *x, int32_t n) {
    double largest = 0;
    for (int32_t i = 1; i < n; i++) {
        double step = fabs(x[i] - (double)x[i - 1]);
        if (step > largest) largest = step; /* GCC 12 for arm64 fails with an internal error on fmax here */
    }
    return largest;
}

/* Output samples of which none is made of mirrored input, which follows the end of the input. */
static int32_t before_the_end(int32_t made, double speed) { return made - (int32_t)(660 / speed) - 360; }

static double level(const float *x, int32_t n) {
    double sum = 0;
    for (int32_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    return sqrt(sum / n);
}

static void check_length(double speed, int32_t n, int32_t made) {
    expect(made == (int32_t)(n / speed + 0.5), "length", speed, made);
}

static void check_tones(double speed) {
    static const double tones[] = {55, 97, 110, 233, 441, 900, 2500};
    for (size_t t = 0; t < sizeof tones / sizeof *tones; t++) {
        for (int32_t i = 0; i < N; i++) input[i] = (float)(0.5 * sin(6.283185307179586 * tones[t] * i / Q3T_SAMPLE_RATE));
        int32_t made = stretch(speed, N, 1920, 4096, NULL, output);
        check_length(speed, N, made);
        double found = frequency(output, made);
        expect(fabs(found / tones[t] - 1) < 0.005, "frequency", speed, found);
        double step = largest_step(input, N), inner = largest_step(output, before_the_end(made, speed));
        expect(inner < 1.05 * step, "smoothness", speed, inner / step);
        expect(largest_step(output, made) < 1.3 * step, "smoothness of the end", speed, largest_step(output, made) / step);
        expect(fabs(level(output, made) / level(input, N) - 1) < 0.03, "level of a tone", speed, tones[t]);
    }
}

/* Pulses of a voice of 120 Hz: the distance of the pulses stays, and none is split. */
static void check_pulses(double speed) {
    int32_t last = -1, wrong = 0, pulses = 0;
    for (int32_t i = 0; i < N; i++) input[i] = i % 200 == 100 ? 0.9f : 0;
    int32_t made = stretch(speed, N, 1920, 4096, NULL, output);
    made = before_the_end(made, speed);
    for (int32_t i = 0; i < made; i++) {
        if (fabsf(output[i]) < 0.1f) continue;
        wrong += fabsf(output[i] - 0.9f) > 0.01f || (last >= 0 && i - last != 200);
        last = i;
        pulses++;
    }
    expect(wrong == 0 && abs(pulses - made / 200) <= 1, "pulses", speed, wrong);
}

static void check_noise_and_cuts(double speed) {
    uint32_t state = 7;
    for (int32_t i = 0; i < N; i++) input[i] = (float)random_below(&state, 20001) * 1e-5f - 0.1f;
    int32_t made = stretch(speed, N, 1920, 4096, NULL, output);
    check_length(speed, N, made);
    expect(fabs(level(output, made) / level(input, N) - 1) < 0.03, "level of noise", speed, level(output, made));
    expect(largest_step(output, made) < 1.5 * largest_step(input, N), "smoothness of noise", speed, largest_step(output, made));
    for (int cut = 0; cut < 4; cut++) {
        static const int32_t in[] = {N, 1, 5000, 300}, room[] = {ROOM, 17, 3000, 1};
        int32_t again = stretch(speed, N, in[cut], room[cut], cut > 1 ? &state : NULL, other);
        expect(again == made && !memcmp(output, other, (size_t)made * sizeof *output), "output of other cuts", speed, cut);
    }
    for (int32_t n = 0; n < 3000; n = n < 20 ? n + 1 : n + 97) check_length(speed, n, stretch(speed, n, 480, 512, NULL, other));
}

static void check_odd_samples(double speed) {
    static const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-44f, 0, -0.0f, 1, 1e20f};
    uint32_t state = 9;
    for (int kind = 0; kind < 3; kind++) {
        for (int32_t i = 0; i < N; i++) input[i] = kind == 0 ? NAN : kind == 1 ? 1e-44f : odd[random_below(&state, 10)];
        int32_t made = stretch(speed, N, 4000, 4096, &state, output), wrong = 0;
        check_length(speed, N, made);
        for (int32_t i = 0; i < made && kind < 2; i++) wrong += !(fabsf(output[i]) <= 1e-40f);
        expect(wrong == 0, "samples that are not finite", speed, wrong);
    }
}

/* At speed 1 every hop continues the one before. */
static void check_same(void) {
    uint32_t state = 3;
    for (int32_t i = 0; i < N; i++) input[i] = (float)random_below(&state, 20001) * 1e-4f - 1;
    expect(stretch(1, N, 1920, 4096, NULL, output) == N && !memcmp(input, output, sizeof input), "same samples", 1, 0);
}

static void check_arguments(void) {
    static const double wrong[] = {0, -1, 0.249, 4.001, NAN, INFINITY, -INFINITY};
    q3t_stretch *s = NULL;
    int32_t used, count;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect(q3t_stretch_open(wrong[i], &s) == Q3T_E_ARGUMENT && !s, "wrong speed", wrong[i], 0);
    expect(q3t_stretch_open(2, NULL) == Q3T_E_ARGUMENT, "nowhere to open", 2, 0);
    if (q3t_stretch_open(2, &s) != Q3T_OK) return;
    expect(q3t_stretch_run(NULL, input, 1, &used, output, 1, &count) == Q3T_E_ARGUMENT, "no stretch", 2, 0);
    expect(q3t_stretch_run(s, NULL, 1, &used, output, 1, &count) == Q3T_E_ARGUMENT, "no samples", 2, 0);
    expect(q3t_stretch_run(s, input, -1, &used, output, 1, &count) == Q3T_E_ARGUMENT, "a negative number", 2, 0);
    expect(q3t_stretch_run(s, input, 1, NULL, output, 1, &count) == Q3T_E_ARGUMENT, "no used", 2, 0);
    expect(q3t_stretch_run(s, input, 1, &used, NULL, 1, &count) == Q3T_E_ARGUMENT, "no output", 2, 0);
    expect(q3t_stretch_run(s, input, 1, &used, output, 0, &count) == Q3T_E_ARGUMENT, "no room", 2, 0);
    expect(q3t_stretch_run(s, input, 1, &used, output, 1, NULL) == Q3T_E_ARGUMENT, "no count", 2, 0);
    expect(q3t_stretch_run(s, NULL, 0, &used, output, 1, &count) == Q3T_OK && !used && !count, "nothing", 2, 0);
    expect(q3t_stretch_finish(NULL, output, 1, &count) == Q3T_E_ARGUMENT, "finish no stretch", 2, 0);
    expect(q3t_stretch_finish(s, output, 0, &count) == Q3T_E_ARGUMENT, "finish without room", 2, 0);
    expect(q3t_stretch_finish(s, output, 1, &count) == Q3T_OK && !count, "finish nothing", 2, 0);
    q3t_stretch_close(s);
    q3t_stretch_close(NULL);
}

int main(void) {
    for (int i = 0; i < SPEEDS; i++) {
        check_tones(speeds[i]);
        check_pulses(speeds[i]);
        check_noise_and_cuts(speeds[i]);
        check_odd_samples(speeds[i]);
    }
    check_same();
    check_arguments();
    if (!failures) printf("check_stretch: ok\n");
    return failures != 0;
}
