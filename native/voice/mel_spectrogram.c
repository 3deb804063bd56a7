/* voice/mel_spectrogram.c - computes the log-mel spectrogram (n / 256, 128) of n samples, in this order:
 *
 *   reflect 384 samples at both ends; cut 1024 samples every 256 samples, with a periodic Hann window; take the magnitude of the
 *   discrete Fourier transform; apply mel filters (Slaney's scale and normalisation, 0 .. 12000 Hz); take the logarithm.
 *
 * The transform is computed in double, which costs little beside the speaker encoder.
 * Source: modeling_qwen3_tts.py, mel_spectrogram; librosa.filters.mel. */
#include "voice/mel_spectrogram.h"
#include <math.h>

enum { FFT = Q3T_MEL_FFT, HOP = Q3T_MEL_HOP, BINS = Q3T_MEL_BINS, LINES = FFT / 2 + 1, EDGE = (FFT - HOP) / 2, BITS = 10,
       TOP = Q3T_SAMPLE_RATE / 2 };  /* Hz */

static const double pi = 3.14159265358979323846;

/* Slaney's mel scale: linear below 1000 Hz, logarithmic above. */
static double to_mel(double hz) { return hz < 1000 ? hz * 3 / 200 : 15 + log(hz / 1000) * 27 / log(6.4); }
static double to_hz(double mel) { return mel < 15 ? mel * 200 / 3 : 1000 * exp((mel - 15) * log(6.4) / 27); }

/* Compute the triangular filter of each bin. */
static void fill_bank(q3t_mel *mel) {
    double top = to_mel(TOP), step = top / (BINS + 1);
    for (int32_t b = 0; b < BINS; b++) {
        double low = to_hz(b * step), peak = to_hz((b + 1) * step), high = to_hz((b + 2) * step);
        float *weights = mel->weights + b * LINES;
        mel->first[b] = mel->count[b] = 0;
        for (int32_t i = 0; i < LINES; i++) {
            double hz = (double)i * Q3T_SAMPLE_RATE / FFT, up = (hz - low) / (peak - low), down = (high - hz) / (high - peak);
            double w = up < down ? up : down;
            if (w <= 0) continue;
            if (!mel->count[b]) mel->first[b] = i;
            mel->count[b] = i + 1 - mel->first[b];
            weights[i] = (float)(w * 2 / (high - low));
        }
    }
}

void q3t_mel_carve(q3t_mel *mel, q3t_arena *a) {
    mel->window = q3t_carve(a, FFT, sizeof(double));
    mel->cos = q3t_carve(a, FFT / 2, sizeof(double));
    mel->sin = q3t_carve(a, FFT / 2, sizeof(double));
    mel->weights = q3t_carve(a, BINS * LINES, sizeof(float));
    if (!mel->weights) return;
    for (int32_t i = 0; i < FFT; i++) mel->window[i] = 0.5 - 0.5 * cos(2 * pi * i / FFT);
    for (int32_t i = 0; i < FFT / 2; i++) {
        mel->cos[i] = cos(2 * pi * i / FFT);
        mel->sin[i] = -sin(2 * pi * i / FFT);
    }
    fill_bank(mel);
}

int32_t q3t_mel_frames(int32_t n) { return n / HOP; }

/* Returns sample i of the reflected signal x (n,), i < 0 or i >= n included. The first and the last sample are not repeated. */
static double reflected(const float *x, int32_t n, int32_t i) {
    if (i < 0) i = -i;
    if (i >= n) i = 2 * (n - 1) - i;
    return x[i];
}

/* Fourier transform of re + i im, in place, by radix 2. re, im: (FFT,), in bit-reversed order at the start. */
static void transform(const q3t_mel *mel, double *re, double *im) {
    for (int32_t half = 1; half < FFT; half *= 2)
        for (int32_t i = 0; i < FFT; i += 2 * half)
            for (int32_t j = 0; j < half; j++) {
                double c = mel->cos[j * (FFT / 2 / half)], s = mel->sin[j * (FFT / 2 / half)];
                int32_t a = i + j, b = a + half;
                double x = re[b] * c - im[b] * s, y = re[b] * s + im[b] * c;
                re[b] = re[a] - x, im[b] = im[a] - y;
                re[a] += x, im[a] += y;
            }
}

typedef struct job {
    const q3t_mel *mel;
    const float *samples;
    int32_t n;
    float *out;
    size_t ld;
} job;

static void frame_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const job *p = arg;
    const q3t_mel *mel = p->mel;
    double re[FFT], im[FFT];
    float magnitude[LINES];
    (void)worker;
    for (int32_t t = begin; t < end; t++) {
        for (int32_t i = 0; i < FFT; i++) {
            int32_t reversed = 0;
            for (int32_t bit = 0; bit < BITS; bit++) reversed |= (i >> bit & 1) << (BITS - 1 - bit);
            re[reversed] = reflected(p->samples, p->n, t * HOP + i - EDGE) * mel->window[i];
            im[reversed] = 0;
        }
        transform(mel, re, im);
        for (int32_t i = 0; i < LINES; i++) magnitude[i] = (float)sqrt(re[i] * re[i] + im[i] * im[i] + 1e-9);
        for (int32_t b = 0; b < BINS; b++) {
            double sum = 0;
            for (int32_t i = mel->first[b]; i < mel->first[b] + mel->count[b]; i++)
                sum += (double)mel->weights[b * LINES + i] * magnitude[i];
            /* not fmax: a NaN must remain */
            p->out[(size_t)t * p->ld + (size_t)b] = (float)log(sum < 1e-5 ? 1e-5 : sum);
        }
    }
}

void q3t_mel_run(const q3t_mel *mel, q3t_pool *pool, const float *samples, int32_t n, float *out, size_t ld) {
    job p = {.mel = mel, .samples = samples, .n = n, .out = out, .ld = ld};
    q3t_pool_run(pool, q3t_mel_frames(n), 16, frame_task, &p);
}
