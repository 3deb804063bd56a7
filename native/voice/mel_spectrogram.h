/* voice/mel_spectrogram.h - the log-mel spectrogram of a recording, which is the input of the speaker encoder. */
#ifndef Q3T_MEL_H
#define Q3T_MEL_H
#include "base/arena.h"
#include "base/pool.h"

enum { Q3T_MEL_FFT = 1024, Q3T_MEL_HOP = 256, Q3T_MEL_BINS = 128 };

/* The constants of the spectrogram. Bin b is a sum of the spectrum lines [first[b], first[b] + count[b]), weighted by row b of
 * `weights`. */
typedef struct q3t_mel {
    double *window;             /* (Q3T_MEL_FFT,) */
    double *cos, *sin;          /* (Q3T_MEL_FFT / 2,): cos and -sin of 2 pi i / Q3T_MEL_FFT */
    float *weights;             /* (Q3T_MEL_BINS, Q3T_MEL_FFT / 2 + 1) */
    int32_t first[Q3T_MEL_BINS], count[Q3T_MEL_BINS];
} q3t_mel;

/* Carve and, in the second run, compute the constants. */
void q3t_mel_carve(q3t_mel *mel, q3t_arena *a);
/* Returns the number of rows of the spectrogram of n samples. */
int32_t q3t_mel_frames(int32_t n);
/* Compute the spectrogram of samples (n,), n > (Q3T_MEL_FFT - Q3T_MEL_HOP) / 2. Row t, (Q3T_MEL_BINS,), goes to out + t * ld. */
void q3t_mel_run(const q3t_mel *mel, q3t_pool *pool, const float *samples, int32_t n, float *out, size_t ld);
#endif
