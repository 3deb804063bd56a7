/* check_session_decoder.c - checks the decoder of a session (speech/session_decoder.h), with a small codec of random weights.
 *
 * This program replaces clock_gettime by a clock that only the checks advance: by a given time for each frame generated, for
 * each call that decodes, and for each frame decoded. So the result does not depend on the speed of the machine.
 * It checks that playback which begins with the first chunk is never interrupted on a machine that is faster than playback, that
 * the chunks have 1, 2, 4, then 8 frames on a fast machine, and that the samples are the samples of the codec alone. */
#define _POSIX_C_SOURCE 200809L
#include "codec_subject.h"
#include "speech/session_decoder.h"
#include <time.h>

enum { FRAMES = 300, RATE = 16, LONGEST = 8 };

static struct {
    double now, call_seconds, frame_seconds;
    int in_call;                     /* 1 if call_seconds were added since the clock was last read */
    void (*clamp)(float *, int32_t); /* the kernel that slow_clamp replaces */
} machine;

int clock_gettime(clockid_t id, struct timespec *t) {
    (void)id;
    machine.in_call = 0;
    t->tv_sec = (time_t)machine.now;
    t->tv_nsec = (long)((machine.now - (double)t->tv_sec) * 1e9);
    return 0;
}

/* Replaces the kernel clamp, the last one that a decoding call runs, and advances the clock. x: samples of one or more frames. */
static void slow_clamp(float *x, int32_t n) {
    if (!machine.in_call) machine.now += machine.call_seconds;
    machine.in_call = 1;
    machine.now += machine.frame_seconds * n / RATE;
    machine.clamp(x, n);
}

static int failures;

static int expect(int ok, const char *what) {
    if (!ok) failures++, printf("  FAIL %s\n", what);
    return ok;
}

static subject *codec_tensors;
static q3t_codec *codec;
static q3t_codec_work *work;
static float expected[FRAMES * RATE];  /* the samples that the codec alone gives */

static void need(q3t_status status) {
    if (status == Q3T_OK) return;
    printf("%s\n", q3t_status_text(status));
    exit(2);
}

static void open_codec(void) {
    static q3t_kernels kernels;
    q3t_config config = {.codec = {8, 8, 1, 1, 1, 8, 1e-5f, 1e4}, .code_groups = 2, .codebook_size = 7, .codebook_dim = 8, .latent_dim = 8,
                         .decoder_dim = 4, .sliding_window = 4, .rates = 1, .upsample_rates = {RATE}};
    q3t_codec_state *state;
    codec_tensors = synthetic(&config, Q3T_F32, FRAMES);
    q3t_kernels_init(&kernels, q3t_cpu_flags());
    machine.clamp = kernels.clamp;
    kernels.clamp = slow_clamp;
    need(q3t_codec_open(&config, &codec_tensors->weights, NULL, &kernels, NULL, &codec));
    need(q3t_codec_work_open(codec, LONGEST, &work));
    need(q3t_codec_state_open(codec, &state));
    q3t_codec_call call = {.state = state, .codes = codec_tensors->codes, .frames = FRAMES, .samples = expected};
    q3t_codec_run(codec, work, NULL, &call, 1);
    need(call.status);
    q3t_codec_state_close(state);
}

enum { PLAYERS = 8 };
static int32_t most = INT32_MAX; /* argument of q3t_session_decoders_run */

/* A decoder and the player that reads from it. */
typedef struct player {
    q3t_session_decoder decoder;
    q3t_arena arena;
    float samples[FRAMES * RATE];
    int32_t played;                  /* frames read */
    int32_t chunks[FRAMES], count;   /* number of frames of each read that was not empty; number of these reads */
    double started;                  /* when the first samples were read */
    int32_t interruptions;           /* reads that came when all earlier samples had been played */
} player;

static player *open_player(int32_t chunk_frames, int32_t silent) {
    player *p = get(sizeof *p);
    q3t_session_decoder_carve(&p->decoder, &p->arena, chunk_frames, RATE);
    need(q3t_arena_reserve(&p->arena));
    q3t_session_decoder_carve(&p->decoder, &p->arena, chunk_frames, RATE);
    p->decoder.codec = codec, p->decoder.codes = codec_tensors->codes, p->decoder.groups = codec_tensors->config.code_groups;
    p->decoder.silent = silent;
    need(q3t_session_decoder_open(&p->decoder));
    return p;
}

static void close_player(player *p) {
    q3t_session_decoder_close(&p->decoder);
    q3t_arena_free(&p->arena);
    free(p);
}

/* Read all decoded samples. Returns their number of frames. */
static int32_t play(player *p) {
    const double frame = p->decoder.schedule.frame_seconds;
    const int32_t n = q3t_session_decoder_read(&p->decoder, p->samples + p->played * RATE, FRAMES * RATE - p->played * RATE, 0) / RATE;
    if (n == 0) return 0;
    if (p->played == 0) p->started = machine.now;
    else p->interruptions += machine.now - p->started > p->played * frame;
    p->played += n;
    return p->chunks[p->count++] = n;
}

/* Give the decoders of n <= PLAYERS players the frames [0, available) and decode what is due. */
static void give(player *const *players, int32_t n, const int32_t *available) {
    q3t_session_decoder *decoders[PLAYERS];
    for (int32_t i = 0; i < n; i++) {
        decoders[i] = &players[i]->decoder;
        q3t_session_decoder_push(decoders[i], available[i], available[i] == FRAMES);
    }
    int32_t rows = INT32_MAX;
    q3t_session_decoders_run(decoders, n, work, NULL, &rows, most);
}

/* Generate and play FRAMES frames; the caller closes the player. Times are in lengths of a frame: to generate a frame takes `make`,
 * every seventh frame `jitter` more; to decode n frames takes call + n * each. */
static player *run(double make, double jitter, double call, double each, int32_t chunk_frames, int32_t silent) {
    player *p = open_player(chunk_frames, silent);
    const double frame = p->decoder.schedule.frame_seconds;
    machine.call_seconds = call * frame, machine.frame_seconds = each * frame;
    machine.now = 100;
    for (int32_t i = 1; i <= FRAMES; i++) {
        machine.now += (make + (i % 7 == 3 ? jitter : 0)) * frame;
        give(&p, 1, &i);
        play(p);
    }
    expect(p->played == FRAMES - silent, "all frames are played");
    expect(!memcmp(p->samples, expected + silent * RATE, (size_t)p->played * RATE * sizeof *expected), "the samples are those of the codec alone");
    return p;
}

/* 1 if the first chunks have 1, 2, 4, then 8 frames. */
static int doubles(const player *p) {
    return p->chunks[0] == 1 && p->chunks[1] == 2 && p->chunks[2] == 4 && p->chunks[3] == 8 && p->chunks[4] == 8;
}

/* 1 if three of the last four chunks are long. The last chunk has the remaining frames. */
static int ends_long(const player *p) {
    int32_t n = 0;
    for (int32_t i = p->count - 4; i < p->count; i++) n += p->chunks[i] >= 6;
    return n >= 3;
}

/* Check a machine that needs `percent` percent of the time of playback; of this time it needs `tenths` tenths to decode, if each
 * call decodes one frame. */
static void check_speed(int32_t percent, int32_t tenths) {
    double all = percent / 100.0, decode = all * tenths / 10, make = all - decode, call = decode / 4, each = decode * 3 / 4;
    player *even = run(make, 0, call, each, 0, 0), *uneven = run(0.9 * make, percent < 60 ? 0.4 * make : 0, call, each, 0, 0);
    int ok = expect(!even->interruptions && !uneven->interruptions, "playback is not interrupted");
    ok &= expect(even->chunks[0] == 1 && uneven->chunks[0] == 1, "the first frame is played at once");
    ok &= expect(percent > 25 || doubles(even), "chunks of a fast machine");
    ok &= expect(percent > 90 || ends_long(even), "long chunks in the end");
    if (!ok)
        printf("    at %d %% of real time, decoder %d0 %%: interrupted %d and %d times, chunks %d %d %d %d\n", (int)percent, (int)tenths,
               (int)even->interruptions, (int)uneven->interruptions, (int)even->chunks[0], (int)even->chunks[1], (int)even->chunks[2],
               (int)even->chunks[3]);
    close_player(even);
    close_player(uneven);
}

/* If the machine is slower than playback, no chunk length prevents interruptions: chunks must become long, which costs least. */
static void check_slow(void) {
    player *p = run(1.9, 0, 0.12, 0.12, 0, 0);
    expect(doubles(p), "chunks of a slow machine");
    close_player(p);
}

/* If the chunk length is fixed, every chunk has this length, whatever the speed; the last chunk has the remaining frames. */
static void check_fixed(void) {
    static const double speeds[] = {0.1, 0.9, 1.5};
    for (size_t i = 0; i < sizeof speeds / sizeof *speeds; i++) {
        player *p = run(speeds[i], 0, 0.01, 0.01, 7, 0);
        int ok = 1;
        for (int32_t c = 0; c + 1 < p->count; c++) ok &= p->chunks[c] == 7;
        expect(ok, "chunks of 7 frames");
        close_player(p);
    }
}

/* The leading frames of a cloned voice are decoded but not played; those that no later sample depends on are only skipped. */
static void check_silent(void) {
    for (int32_t silent = 1; silent < 60; silent += 19) {
        player *p = run(0.2, 0, 0.02, 0.02, 0, silent);
        expect(p->chunks[0] == 1 && !p->interruptions, "the first frame after the reference is played at once");
        close_player(p);
    }
    expect(q3t_codec_reach(codec) < 58, "some frames were skipped");
}

/* If nothing is read, decoding stops when the ring is full; it goes on after a read. */
static void check_full_ring(void) {
    player *p = open_player(0, 0);
    for (int32_t i = 1; i <= FRAMES; i++) give(&p, 1, &i);
    int32_t held = atomic_load(&p->decoder.decoded), all = FRAMES;
    expect(held > 0 && (int64_t)held * RATE <= p->decoder.capacity, "no more than the ring holds");
    for (int32_t i = 0; i < FRAMES && p->played < FRAMES; i++) {
        expect(play(p) > 0, "a full ring is read");
        give(&p, 1, &all);
    }
    expect(p->played == FRAMES && !memcmp(p->samples, expected, sizeof expected), "all samples after a full ring");
    close_player(p);
}

/* Two sessions that began at different times are soon decoded in the same calls, because each joins a call of the other when it has
 * half a chunk. */
static void check_together(void) {
    player *players[2] = {open_player(0, 0), open_player(0, 0)};
    int same = 1;
    machine.call_seconds = machine.frame_seconds = 0;
    for (int32_t i = 1; i <= FRAMES - 5; i++) {
        int32_t available[2] = {i + 5, i};
        machine.now += 0.1 * players[0]->decoder.schedule.frame_seconds;
        give(players, 2, available);
        int32_t first = play(players[0]), second = play(players[1]);
        if (i > FRAMES / 2 && available[0] < FRAMES) same &= !first == !second;
    }
    expect(same, "two sessions decode together");
    for (int32_t i = 0; i < 2; i++) {
        expect(!memcmp(players[i]->samples, expected, (size_t)players[i]->played * RATE * sizeof *expected), "samples of two sessions");
        close_player(players[i]);
    }
}

/* Sessions that begin together are decoded in different steps if a step decodes only so many frames, else in the same steps. */
static void check_spread(int32_t frames) {
    player *players[PLAYERS];
    int32_t longest = 0;
    for (int32_t i = 0; i < PLAYERS; i++) players[i] = open_player(0, 0);
    machine.call_seconds = machine.frame_seconds = 0;
    most = frames;
    for (int32_t i = 1; i <= FRAMES; i++) {
        int32_t available[PLAYERS], decoded = 0;
        for (int32_t j = 0; j < PLAYERS; j++) available[j] = i;
        machine.now += 0.1 * players[0]->decoder.schedule.frame_seconds;
        give(players, PLAYERS, available);
        for (int32_t j = 0; j < PLAYERS; j++) decoded += play(players[j]);
        if (i < FRAMES && i > Q3T_STEADY_CHUNK) longest = decoded > longest ? decoded : longest;
    }
    most = INT32_MAX;
    expect(longest == (frames < INT32_MAX ? frames : PLAYERS * Q3T_STEADY_CHUNK), "frames of the longest step");
    for (int32_t i = 0; i < PLAYERS; i++) {
        expect(players[i]->played == FRAMES && players[i]->interruptions == 0, "playback is not interrupted");
        expect(!memcmp(players[i]->samples, expected, sizeof expected), "samples of spread sessions");
        close_player(players[i]);
    }
}

int main(void) {
    open_codec();
    check_spread(INT32_MAX);
    check_spread(PLAYERS);
    for (int32_t percent = 2; percent <= 95; percent += 3)
        for (int32_t tenths = 0; tenths <= 10; tenths += 2) check_speed(percent, tenths);
    check_slow();
    check_fixed();
    check_silent();
    check_full_ring();
    check_together();
    q3t_codec_work_close(work);
    q3t_codec_close(codec);
    drop(codec_tensors);
    printf("%d failed\n", failures);
    return failures != 0;
}
