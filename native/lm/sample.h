/* lm/sample.h - sampling: from logits to one code. */
#ifndef Q3T_SAMPLE_H
#define Q3T_SAMPLE_H
#include "kernels/table.h"
#include "base/status.h"

/* Returns a draw, uniform in [0, 1): Philox4x32-10 with the seed as its key and (utterance key, frame, code group) as its counter.
 * A draw depends on nothing else: not on the batch, the thread or earlier draws.
 * Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (2011). */
double q3t_draw(uint64_t seed, uint64_t key, uint32_t frame, uint32_t group);

/* Change the talker's scores (n,) in place, before a code is chosen: apply the repetition penalty to every id with seen[id] 1; set
 * eos to -inf if `hold` is 1 (the utterance may not end yet); set the last Q3T_RESERVED ids, except eos, to -inf.
 * Source: transformers generation/utils.py _get_logits_processor; modeling_qwen3_tts.py generate(). */
void q3t_talker_scores(float *scores, int32_t n, float penalty, const unsigned char *seen, int32_t eos, int32_t hold);

/* Choose an index from scores (n,). Scores may be -inf but not NaN; they are overwritten. Greedy: the lowest index with the largest
 * score. Otherwise apply temperature, top-k (all scores equal to the k-th stay), top-p and softmax, and take the first index whose
 * cumulative probability exceeds the draw u. scratch: 3 * n floats; order: n ints. */
int32_t q3t_choose(const q3t_kernels *k, const q3t_sampling *s, float *scores, int32_t n, double u, float *scratch, int32_t *order);
#endif
