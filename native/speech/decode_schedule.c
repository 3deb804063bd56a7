/* speech/decode_schedule.c - see speech/decode_schedule.h. The counters are atomic, so slice mode takes no lock;
 * the mutex and the condition are for the two sides of a pipeline to sleep on. */
#define _POSIX_C_SOURCE 200809L
#include "base/clock.h"
#include "speech/decode_schedule.h"
#include <unistd.h>

enum { RING_FRAMES = 32, STEADY_CHUNK = 8 };

static const double MARGIN = 1.5; /* of the time that another frame and decoding what waits then would take */

int32_t q3t_stage_chunk(int32_t chunk_frames) { return chunk_frames ? chunk_frames : STEADY_CHUNK; }

void q3t_stage_carve(q3t_stage *s, q3t_arena *a, int32_t chunk_frames, int32_t frame_samples) {
    int32_t longest = q3t_stage_chunk(chunk_frames), frames = 2 * longest > RING_FRAMES ? 2 * longest : RING_FRAMES;
    s->chunk = chunk_frames;
    s->frame_samples = frame_samples;
    s->capacity = (int64_t)frames * frame_samples;
    s->schedule = (q3t_schedule){.chunk = 1, .frame = (double)frame_samples / Q3T_SAMPLE_RATE};
    s->ring = q3t_carve(a, (size_t)s->capacity, sizeof(float));
    s->scratch = q3t_carve(a, (size_t)longest * (size_t)frame_samples, sizeof(float));
}

/* Leading frames that only the transformer takes in: what comes after them is decoded, and heard from s->silent on. */
static int32_t skipped(const q3t_stage *s) {
    int32_t reach = q3t_codec_reach(s->codec);
    return s->silent > reach ? s->silent - reach : 0;
}

int q3t_schedule_push(q3t_schedule *s, double at, int32_t waiting, int32_t heard) {
    double make = at - s->begun, lead = heard * s->frame - (at - s->origin);
    s->begun = at;
    if (heard <= 0) return 0;
    if (lead < 0) {
        s->origin -= lead;
        lead = 0;
    }
    /* Slower than playing, no chunk helps. */
    return make + s->cost < s->frame && lead < MARGIN * (make + (waiting + 1) * s->cost);
}

void q3t_schedule_decoded(q3t_schedule *s, double at, double seconds, int32_t frames, int32_t heard) {
    s->cost = seconds / frames;
    if (heard == frames) s->origin = at;
    if (frames >= s->chunk && s->chunk < STEADY_CHUNK) s->chunk *= 2;
}

/* Frames to decode next, or 0. beside: others are decoded anyway, and half of what would be waited for is worth it: their
 * weights are read once for all, and from then on the two wait for the same frames. */
static int32_t due(q3t_stage *s, int beside) {
    int32_t done = atomic_load(&s->decoded), waiting = atomic_load(&s->available) - done;
    int32_t next = s->chunk ? s->chunk : done < s->silent ? STEADY_CHUNK : s->schedule.chunk;
    if (done < s->silent) {
        int32_t border = done < skipped(s) ? skipped(s) : s->silent;
        if (next > border - done) next = border - done;
    }
    if (waiting >= next) return next;
    return (s->early && !s->chunk) || atomic_load(&s->finished) || (beside && 2 * waiting >= next) ? waiting : 0;
}

static int has_room(q3t_stage *s, int32_t frames) {
    int64_t held = atomic_load(&s->written) - atomic_load(&s->read);
    return s->capacity - held >= (int64_t)frames * s->frame_samples;
}

static void append(q3t_stage *s, const float *samples, int64_t n) {
    int64_t at = atomic_load_explicit(&s->written, memory_order_relaxed), place = at % s->capacity;
    int64_t first = s->capacity - place < n ? s->capacity - place : n;
    memcpy(s->ring + place, samples, (size_t)first * sizeof(float));
    memcpy(s->ring, samples + first, (size_t)(n - first) * sizeof(float));
    atomic_store(&s->written, at + n);
}

/* The call's frames have been decoded into scratch; of the time from start to end its share is `seconds`. */
static void deliver(q3t_stage *s, const q3t_codec_call *call, double start, double end, double seconds) {
    int32_t done = atomic_load(&s->decoded), n = call->frames;
    if (s->pipeline) pthread_mutex_lock(&s->mutex);
    if (call->status == Q3T_OK) {
        if (done >= s->silent) append(s, s->scratch, (int64_t)n * s->frame_samples);
        atomic_store(&s->decoded, done + n);
        if (done >= s->silent) q3t_schedule_decoded(&s->schedule, end, end - start, n, done + n - s->silent);
        s->early = 0;
        if (!s->pipeline) {
            s->schedule.begun = end;
            s->seconds += seconds;
        }
    } else {
        atomic_store(&s->status, (int)call->status);
    }
    if (s->pipeline) {
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->mutex);
    }
}

/* Decode the next part[i] frames of each of n stages of one codec. */
static void decode(q3t_stage *const *stages, const int32_t *part, int32_t n, q3t_codec_work *work, q3t_pool *pool) {
    q3t_codec_call calls[Q3T_STAGES];
    const q3t_codec *codec = stages[0]->codec;
    int32_t count = 0, frames = 0, at[Q3T_STAGES];
    double start = q3t_now();
    for (int32_t i = 0; i < n; i++) {
        q3t_stage *s = stages[i];
        int32_t done = atomic_load(&s->decoded);
        q3t_codec_call call = {.state = s->state, .codes = s->codes + (size_t)done * (size_t)s->groups, .frames = part[i], .samples = s->scratch};
        if (done < skipped(s)) {
            double from = q3t_now(), to;
            q3t_codec_skip(codec, work, pool, &call);
            to = q3t_now();
            start += to - from; /* which is none of the others' time */
            deliver(s, &call, from, to, to - from);
        } else {
            frames += part[i];
            at[count] = i;
            calls[count++] = call;
        }
    }
    if (!count) return;
    q3t_codec_run(codec, work, pool, calls, count);
    double end = q3t_now();
    for (int32_t i = 0; i < count; i++) deliver(stages[at[i]], &calls[i], start, end, (end - start) * calls[i].frames / frames);
}

void q3t_stages_run(q3t_stage *const *stages, int32_t n, q3t_codec_work *work, q3t_pool *pool) {
    for (;;) {
        q3t_stage *some[Q3T_STAGES];
        int32_t part[Q3T_STAGES], count = 0, any = 0;
        for (int32_t i = 0; i < n; i++) {
            q3t_stage *s = stages[i];
            if (s->pipeline || atomic_load(&s->status) != Q3T_OK) continue;
            int32_t frames = due(s, 1);
            if (frames == 0 || !has_room(s, frames)) continue;
            any |= due(s, 0) > 0;
            part[count] = frames;
            some[count++] = s;
        }
        if (!any) return;
        decode(some, part, count, work, pool);
    }
}

static void *stage_main(void *arg) {
    q3t_stage *s = arg;
    for (;;) {
        int32_t n = 0;
        pthread_mutex_lock(&s->mutex);
        while (!atomic_load(&s->stop) && ((n = due(s, 0)) == 0 || !has_room(s, n))) pthread_cond_wait(&s->changed, &s->mutex);
        pthread_mutex_unlock(&s->mutex);
        if (atomic_load(&s->stop)) return NULL;
        decode(&s, &n, 1, s->work, NULL);
        if (atomic_load(&s->status) != Q3T_OK) return NULL;
    }
}

q3t_status q3t_stage_open(q3t_stage *s) {
    Q3T_TRY(q3t_codec_state_open(s->codec, &s->state));
    if (!s->pipeline) return Q3T_OK;
    Q3T_TRY(q3t_codec_work_open(s->codec, Q3T_CODEC_PIECE, &s->work));
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->process = getpid();
    s->started = pthread_create(&s->thread, NULL, stage_main, s) == 0;
    return s->started ? Q3T_OK : Q3T_E_THREAD;
}

void q3t_stage_close(q3t_stage *s) {
    if (s->pipeline && s->work && s->process == getpid()) {
        pthread_mutex_lock(&s->mutex);
        atomic_store(&s->stop, 1);
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->mutex);
        if (s->started) pthread_join(s->thread, NULL);
        pthread_cond_destroy(&s->changed);
        pthread_mutex_destroy(&s->mutex);
    }
    q3t_codec_work_close(s->work);
    q3t_codec_state_close(s->state);
    s->work = NULL;
    s->state = NULL;
}

void q3t_stage_push(q3t_stage *s, int32_t available, int finished) {
    if (s->pipeline) pthread_mutex_lock(&s->mutex);
    if (available > atomic_load(&s->available)) {
        int32_t done = atomic_load(&s->decoded);
        s->early = q3t_schedule_push(&s->schedule, q3t_now(), available - done, done - s->silent);
    }
    atomic_store(&s->available, available);
    atomic_store(&s->finished, finished);
    if (s->pipeline) {
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->mutex);
    }
}

int32_t q3t_stage_read(q3t_stage *s, float *samples, int32_t capacity, int wait) {
    if (s->pipeline && wait) {
        pthread_mutex_lock(&s->mutex);
        while (atomic_load(&s->written) == atomic_load(&s->read) && atomic_load(&s->status) == Q3T_OK && due(s, 0) > 0)
            pthread_cond_wait(&s->changed, &s->mutex);
        pthread_mutex_unlock(&s->mutex);
    }
    int64_t at = atomic_load(&s->read), held = atomic_load(&s->written) - at, place = at % s->capacity;
    int32_t n = (int32_t)(held < capacity ? held : capacity);
    int32_t first = (int32_t)(s->capacity - place < n ? s->capacity - place : n);
    memcpy(samples, s->ring + place, (size_t)first * sizeof(float));
    memcpy(samples + first, s->ring, (size_t)(n - first) * sizeof(float));
    atomic_store(&s->read, at + n);
    if (s->pipeline && n > 0) {
        pthread_mutex_lock(&s->mutex);
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->mutex);
    }
    return n;
}
