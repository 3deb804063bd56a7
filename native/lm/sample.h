/* lm/sample.h - from logits to one code. */
#ifndef Q3T_SAMPLE_H
#define Q3T_SAMPLE_H
#include "kernels/table.h"
#include "base/status.h"

/* A uniform double in [0, 1) for one draw: Philox4x32-10 with the seed as key and (utterance key, frame, group) as
 * counter. Nothing else enters: neither position, batch slot, thread nor what was drawn before.
 * Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (2011). */
double q3t_draw(uint64_t seed, uint64_t key, uint32_t frame, uint32_t group);

/* In place, the processors that the talker's scores pass before choosing: repetition penalty on every id with seen[id],
 * eos = -inf if `hold` (fewer than two tokens so far), then -inf for the reserved ids but eos.
 * Source: transformers generation/utils.py _get_logits_processor; modeling_qwen3_tts.py generate(). */
void q3t_talker_scores(float *scores, int32_t n, float penalty, const unsigned char *seen, int32_t eos, int32_t hold);

/* Choose from scores (n,), which may hold -inf but not NaN; they are used up. Greedy: the lowest index of the largest.
 * Else temperature, top-k (ties of the k-th stay), top-p, softmax, and the first index whose cumulated probability
 * exceeds u. scratch: 3 * n floats; order: n ints. */
int32_t q3t_choose(const q3t_kernels *k, const q3t_sampling *s, float *scores, int32_t n, double u, float *scratch, int32_t *order);
#endif
