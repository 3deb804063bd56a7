/* voice/speaker_encoder.h - the speaker encoder: a recording to the vector that a cloned voice is conditioned on. */
#ifndef Q3T_SPEAKER_H
#define Q3T_SPEAKER_H
#include "conv/run.h"
#include "voice/loader.h"

enum { Q3T_MEL_FFT = 1024, Q3T_MEL_HOP = 256, Q3T_MEL_BINS = 128 };

/* Constants of the log-mel front end. Each bin has the weights of spectrum lines [first, first + count). */
typedef struct q3t_mel {
    double *window;             /* (Q3T_MEL_FFT,) */
    double *cos, *sin;          /* (Q3T_MEL_FFT / 2,): the roots of unity */
    float *weights;             /* (Q3T_MEL_BINS, Q3T_MEL_FFT / 2 + 1) */
    int32_t first[Q3T_MEL_BINS], count[Q3T_MEL_BINS];
} q3t_mel;

/* ---- voice/mel_spectrogram.c */
void q3t_mel_carve(q3t_mel *mel, q3t_arena *a);
/* Frames in n samples. */
int32_t q3t_mel_frames(int32_t n);
/* out row t at out + t * ld; n > (Q3T_MEL_FFT - Q3T_MEL_HOP) / 2. */
void q3t_mel_run(const q3t_mel *mel, q3t_pool *pool, const float *samples, int32_t n, float *out, size_t ld);
#endif
