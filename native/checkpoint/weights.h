/* checkpoint/weights.h - the tensors of a checkpoint by slot and layer, shapes checked. */
#ifndef Q3T_WEIGHTS_H
#define Q3T_WEIGHTS_H
#include "base/status.h"

/* The last ids of the talker's vocabulary: tags, never codes. Source: modeling_qwen3_tts.py, suppress_tokens. */
enum { Q3T_RESERVED = 1024 };

typedef struct q3t_weights {
    const q3t_tensor *slot[Q3T_W_SLOTS];  /* (layers of the slot,) into `tensors`; NULL where the config has none */
    q3t_tensor *tensors;                  /* owned */
} q3t_weights;

/* Dimensions in range, products small enough for int32 row and column indices. */
q3t_status q3t_config_check(const q3t_config *config);
/* The same for what the codec's decoder reads of it. */
q3t_status q3t_codec_config_check(const q3t_config *config);
/* Samples in one frame. */
int32_t q3t_frame_samples(const q3t_config *config);
/* Copy the descriptors; Q3T_E_SHAPE unless each is there exactly once with exactly its shape. */
q3t_status q3t_weights_open(const q3t_config *config, const q3t_tensor *tensors, size_t count, q3t_weights *weights);
/* The same for the slots of the language models alone, which are the first. */
q3t_status q3t_lm_weights_open(const q3t_config *config, const q3t_tensor *tensors, size_t count, q3t_weights *weights);
/* The same for the slots of the codec's decoder alone, which are the last. */
q3t_status q3t_codec_weights_open(const q3t_config *config, const q3t_tensor *tensors, size_t count, q3t_weights *weights);
void q3t_weights_close(q3t_weights *weights);

static inline const q3t_tensor *q3t_weight(const q3t_weights *w, q3t_slot slot, int32_t layer) { return w->slot[slot] + layer; }
/* Element i of a tensor of either dtype, as float. */
float q3t_tensor_at(const q3t_tensor *t, size_t i);
/* Widen elements [first, first + n) into out. */
void q3t_tensor_widen(const q3t_tensor *t, size_t first, size_t n, float *out);
#endif
