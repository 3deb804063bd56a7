/* lm/sample.h - sampling: from logits to one code. */
#ifndef Q3T_SAMPLE_H
#define Q3T_SAMPLE_H
#include "kernels/table.h"
#include "base/status.h"

/* A draw, uniform in [0, 1): Philox4x32-10 with the seed as its key and (utterance key, frame, code group) as its counter.
 * It depends on nothing else: not on the batch, the thread or earlier draws.
 * Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (2011). */
double q3t_draw(uint64_t seed, uint64_t key, uint32_t frame, uint32_t group);

/* Process the talker's scores (n,) in place, before a code is chosen: repetition penalty on every id with seen[id] set,
 * -inf for eos if `hold` is 1 (the utterance may not end yet), -inf for the last Q3T_RESERVED ids except eos.
 * Source: transformers generation/utils.py _get_logits_processor; modeling_qwen3_tts.py generate(). */
void q3t_talker_scores(float *scores, int32_t n, float penalty, const unsigned char *seen, int32_t eos, int32_t hold);

/* Choose an index from scores (n,), which may be -inf but not NaN, and are overwritten. Greedy: the lowest index of the
 * largest score. Otherwise temperature, top-k (scores equal to the k-th stay), top-p, softmax, and the first index whose
 * cumulative probability exceeds u, a draw. scratch: 3 * n floats; order: n ints. */
int32_t q3t_choose(const q3t_kernels *k, const q3t_sampling *s, float *scores, int32_t n, double u, float *scratch, int32_t *order);
#endif
