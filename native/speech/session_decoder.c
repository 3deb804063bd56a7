/* speech/session_decoder.c - decodes the frames of sessions into their ring buffers, on the model's thread pool or on a decoder
 * thread of the session. The counters are atomic, so that a decoder without a thread takes no lock. With a thread, the thread and
 * the session wait for each other with a mutex and a condition variable. */
#define _POSIX_C_SOURCE 200809L
#include "speech/session_decoder.h"
#include "base/clock.h"
#include "base/small.h"
#include <unistd.h>

enum { RING_FRAMES = 32,       /* least capacity of the ring, in frames */
       CATCH_UP = 4,           /* a step decodes 1/CATCH_UP frame of each session more if frames wait longer than usual */
       SKIPPED_OF_ROW = 4,     /* frames whose skipping takes about as long as a prompt row in all layers of the talker */
       ROWS_OF_SILENT = 8 };   /* prompt rows that take about as long as a frame that is decoded though it is not heard */

void q3t_session_decoder_carve(q3t_session_decoder *d, q3t_arena *a, int32_t chunk_frames, int32_t frame_samples) {
    int32_t longest = chunk_frames ? chunk_frames : Q3T_STEADY_CHUNK, frames = q3t_max(2 * longest, RING_FRAMES);
    d->chunk = chunk_frames;
    d->frame_samples = frame_samples;
    d->capacity = (int64_t)frames * frame_samples;
    d->schedule = (q3t_schedule){.chunk = 1, .frame_seconds = (double)frame_samples / Q3T_SAMPLE_RATE};
    d->ring = q3t_carve(a, (size_t)d->capacity, sizeof(float));
    d->scratch = q3t_carve(a, (size_t)longest * (size_t)frame_samples, sizeof(float));
}

/* Returns how many leading frames of the reference are decoded by q3t_codec_skip. They change the samples of frame d->silent, the
 * first that is heard, only through the codec's transformer: they are too far before it for the convolutions. */
static int32_t skipped(const q3t_session_decoder *d) {
    int32_t reach = q3t_codec_reach(d->codec);
    return d->silent > reach ? d->silent - reach : 0;
}

/* Returns how many silent frames, at most `frames`, a budget of `rows` >= 1 prompt rows allows, at least 1. *cost: out, the prompt
 * rows that they count for. */
static int32_t affordable(const q3t_session_decoder *d, int32_t frames, int32_t rows, int32_t *cost) {
    if (atomic_load(&d->decoded) < skipped(d)) {
        if (rows < q3t_ceil_div(frames, SKIPPED_OF_ROW)) frames = rows * SKIPPED_OF_ROW;
        *cost = q3t_ceil_div(frames, SKIPPED_OF_ROW);
    } else {
        frames = q3t_min(frames, q3t_max(rows / ROWS_OF_SILENT, 1));
        *cost = frames * ROWS_OF_SILENT;
    }
    return frames;
}

int32_t q3t_session_decoder_reference_rows(const q3t_session_decoder *d) {
    int32_t done = atomic_load(&d->decoded), from = q3t_max(done, skipped(d));
    if (d->pipeline || done >= d->silent || atomic_load(&d->status) != Q3T_OK) return 0;
    return q3t_ceil_div(from - done, SKIPPED_OF_ROW) + (d->silent - from) * ROWS_OF_SILENT;
}

/* Returns how many frames to decode now; 0: wait for more frames. with_others: 1 if another session is decoded in the same call,
 * which reads the weights once for both. Then half a chunk is enough, and later chunks of the two sessions come due together. */
static int32_t due(q3t_session_decoder *d, int with_others) {
    int32_t done = atomic_load(&d->decoded), waiting = atomic_load(&d->available) - done;
    int32_t next = d->chunk ? d->chunk : done < d->silent ? Q3T_STEADY_CHUNK : d->schedule.chunk;
    if (done < d->silent) {
        int32_t border = done < skipped(d) ? skipped(d) : d->silent;
        next = q3t_min(next, border - done);
    }
    if (waiting >= next) return next;
    return (d->early && !d->chunk) || atomic_load(&d->flush) || (with_others && 2 * waiting >= next) ? waiting : 0;
}

static int has_room(q3t_session_decoder *d, int32_t frames) {
    int64_t held = atomic_load(&d->written) - atomic_load(&d->read);
    return d->capacity - held >= (int64_t)frames * d->frame_samples;
}

static void append(q3t_session_decoder *d, const float *samples, int64_t n) {
    int64_t at = atomic_load_explicit(&d->written, memory_order_relaxed), place = at % d->capacity;
    int64_t first = d->capacity - place < n ? d->capacity - place : n;
    memcpy(d->ring + place, samples, (size_t)first * sizeof(float));
    memcpy(d->ring, samples + first, (size_t)(n - first) * sizeof(float));
    atomic_store(&d->written, at + n);
}

/* Add the samples of a finished call, which are in d->scratch, to the ring. start, end: when the decoding began and ended; seconds:
 * the part of this time that counts for the session. */
static void deliver(q3t_session_decoder *d, const q3t_codec_call *call, double start, double end, double seconds) {
    int32_t done = atomic_load(&d->decoded), n = call->frames;
    if (d->pipeline) pthread_mutex_lock(&d->mutex);
    if (call->status == Q3T_OK) {
        if (done >= d->silent) append(d, d->scratch, (int64_t)n * d->frame_samples);
        atomic_store(&d->decoded, done + n);
        if (done >= d->silent) q3t_schedule_decoded(&d->schedule, end, end - start, n, done + n - d->silent);
        d->early = 0;
        if (!d->pipeline) {
            d->schedule.frame_start = end;
            d->seconds += seconds;
        }
    } else {
        atomic_store(&d->status, (int)call->status);
    }
    if (d->pipeline) {
        pthread_cond_broadcast(&d->changed);
        pthread_mutex_unlock(&d->mutex);
    }
}

/* Decode the next part[i] frames of decoders[i], for n decoders of one codec. */
static void decode(q3t_session_decoder *const *decoders, const int32_t *part, int32_t n, q3t_codec_work *work, q3t_pool *pool) {
    q3t_codec_call calls[Q3T_DECODED_TOGETHER];
    const q3t_codec *codec = decoders[0]->codec;
    int32_t count = 0, frames = 0, at[Q3T_DECODED_TOGETHER];
    double start = q3t_now();
    for (int32_t i = 0; i < n; i++) {
        q3t_session_decoder *d = decoders[i];
        int32_t done = atomic_load(&d->decoded);
        q3t_codec_call call = {.state = d->state, .codes = d->codes + (size_t)done * (size_t)d->groups, .frames = part[i],
                               .samples = d->scratch};
        if (done < skipped(d)) {
            double from = q3t_now(), to;
            q3t_codec_skip(codec, work, pool, &call);
            to = q3t_now();
            start += to - from; /* the other sessions do not share the time of skipped frames */
            deliver(d, &call, from, to, to - from);
        } else {
            frames += part[i];
            at[count] = i;
            calls[count++] = call;
        }
    }
    if (!count) return;
    q3t_codec_run(codec, work, pool, calls, count);
    double end = q3t_now();
    for (int32_t i = 0; i < count; i++) deliver(decoders[at[i]], &calls[i], start, end, (end - start) * calls[i].frames / frames);
}

/* 1 if the frames that are due must be decoded in this step: nothing was heard yet, playback needs them, or no more will come. */
static int urgent(q3t_session_decoder *d) {
    return d->early || atomic_load(&d->flush) || atomic_load(&d->decoded) <= d->silent;
}

static int32_t waiting(q3t_session_decoder *d) { return atomic_load(&d->available) - atomic_load(&d->decoded); }

/* Sort n decoders: those with the most frames that wait come first. */
static void sort(q3t_session_decoder *const *decoders, int32_t n, q3t_session_decoder **sorted) {
    for (int32_t i = 0; i < n; i++) {
        int32_t at = i;
        for (; at > 0 && waiting(sorted[at - 1]) < waiting(decoders[i]); at--) sorted[at] = sorted[at - 1];
        sorted[at] = decoders[i];
    }
}

int32_t q3t_session_decoders_run(q3t_session_decoder *const *decoders, int32_t n, q3t_codec_work *work, q3t_pool *pool, int32_t *rows,
                                 int32_t most) {
    q3t_session_decoder *sorted[Q3T_DECODED_TOGETHER];
    int spread = most != INT32_MAX;
    sort(decoders, n, sorted);
    if (spread && most > 0 && waiting(sorted[0]) >= 2 * Q3T_STEADY_CHUNK) most += n / CATCH_UP;
    for (int32_t i = 0; spread && i < n; i++) /* a reference takes the time of this step */
        if (!decoders[i]->pipeline && atomic_load(&decoders[i]->decoded) < decoders[i]->silent) most = 0;
    for (int32_t silent = 0;;) {
        q3t_session_decoder *some[Q3T_DECODED_TOGETHER];
        int32_t part[Q3T_DECODED_TOGETHER], count = 0, any = 0;
        for (int32_t i = 0; i < n; i++) {
            q3t_session_decoder *d = sorted[i];
            if (d->pipeline || atomic_load(&d->status) != Q3T_OK) continue;
            int32_t frames = due(d, !spread), cost = 0, in_reference = atomic_load(&d->decoded) < d->silent;
            if (frames == 0 || !has_room(d, frames) || (in_reference && *rows <= 0)) continue;
            if (in_reference) {
                frames = affordable(d, frames, *rows, &cost);
                silent += frames;
                *rows -= cost;
            } else if (spread && !urgent(d)) {
                if (most <= 0) continue;
                frames = q3t_min(frames, most);
                most -= frames;
            }
            any |= due(d, 0) > 0;
            part[count] = frames;
            some[count++] = d;
        }
        if (!any) return silent;
        decode(some, part, count, work, pool);
    }
}

static void *thread_main(void *arg) {
    q3t_session_decoder *d = arg;
    for (;;) {
        int32_t n = 0;
        pthread_mutex_lock(&d->mutex);
        while (!atomic_load(&d->stop) && ((n = due(d, 0)) == 0 || !has_room(d, n))) pthread_cond_wait(&d->changed, &d->mutex);
        pthread_mutex_unlock(&d->mutex);
        if (atomic_load(&d->stop)) return NULL;
        decode(&d, &n, 1, d->work, NULL);
        if (atomic_load(&d->status) != Q3T_OK) return NULL;
    }
}

q3t_status q3t_session_decoder_open(q3t_session_decoder *d) {
    Q3T_TRY(q3t_codec_state_open(d->codec, &d->state));
    if (!d->pipeline) return Q3T_OK;
    Q3T_TRY(q3t_codec_work_open(d->codec, Q3T_CODEC_STREAM_FRAMES, &d->work));
    pthread_mutex_init(&d->mutex, NULL);
    pthread_cond_init(&d->changed, NULL);
    d->process = getpid();
    d->started = pthread_create(&d->thread, NULL, thread_main, d) == 0;
    return d->started ? Q3T_OK : Q3T_E_THREAD;
}

size_t q3t_session_decoder_bytes(const q3t_codec *codec, int32_t pipeline) {
    return q3t_codec_state_bytes(codec) + (pipeline ? q3t_codec_work_bytes(codec, Q3T_CODEC_STREAM_FRAMES) : 0);
}

void q3t_session_decoder_close(q3t_session_decoder *d) {
    if (d->pipeline && d->work && d->process == getpid()) {
        pthread_mutex_lock(&d->mutex);
        atomic_store(&d->stop, 1);
        pthread_cond_broadcast(&d->changed);
        pthread_mutex_unlock(&d->mutex);
        if (d->started) pthread_join(d->thread, NULL);
        pthread_cond_destroy(&d->changed);
        pthread_mutex_destroy(&d->mutex);
    }
    q3t_codec_work_close(d->work);
    q3t_codec_state_close(d->state);
    d->work = NULL;
    d->state = NULL;
}

void q3t_session_decoder_push(q3t_session_decoder *d, int32_t available, int flush) {
    if (d->pipeline) pthread_mutex_lock(&d->mutex);
    if (available > atomic_load(&d->available)) {
        int32_t done = atomic_load(&d->decoded);
        d->early = q3t_schedule_frame(&d->schedule, q3t_now(), available - done, done - d->silent);
    }
    atomic_store(&d->available, available);
    atomic_store(&d->flush, flush);
    if (d->pipeline) {
        pthread_cond_broadcast(&d->changed);
        pthread_mutex_unlock(&d->mutex);
    }
}

void q3t_session_decoder_resume(q3t_session_decoder *d) {
    if (d->pipeline) pthread_mutex_lock(&d->mutex);
    d->schedule.frame_start = q3t_now();
    if (d->pipeline) pthread_mutex_unlock(&d->mutex);
}

int32_t q3t_session_decoder_read(q3t_session_decoder *d, float *samples, int32_t capacity, int wait) {
    if (d->pipeline && wait) {
        pthread_mutex_lock(&d->mutex);
        while (atomic_load(&d->written) == atomic_load(&d->read) && atomic_load(&d->status) == Q3T_OK && due(d, 0) > 0)
            pthread_cond_wait(&d->changed, &d->mutex);
        pthread_mutex_unlock(&d->mutex);
    }
    int64_t at = atomic_load(&d->read), held = atomic_load(&d->written) - at, place = at % d->capacity;
    int32_t n = (int32_t)(held < capacity ? held : capacity);
    int32_t first = (int32_t)(d->capacity - place < n ? d->capacity - place : n);
    memcpy(samples, d->ring + place, (size_t)first * sizeof(float));
    memcpy(samples + first, d->ring, (size_t)(n - first) * sizeof(float));
    atomic_store(&d->read, at + n);
    if (d->pipeline && n > 0) {
        pthread_mutex_lock(&d->mutex);
        pthread_cond_broadcast(&d->changed);
        pthread_mutex_unlock(&d->mutex);
    }
    return n;
}
