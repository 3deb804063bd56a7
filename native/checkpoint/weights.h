/* checkpoint/weights.h - finds a tensor of a checkpoint by slot and layer; opening checks the shapes of all tensors. */
#ifndef Q3T_WEIGHTS_H
#define Q3T_WEIGHTS_H
#include "base/status.h"

/* The last Q3T_RESERVED ids of the talker's vocabulary are control tokens, not codes.
 * Source: modeling_qwen3_tts.py, suppress_tokens. */
enum { Q3T_RESERVED = 1024 };

typedef struct q3t_weights {
    const q3t_tensor *slot[Q3T_W_SLOTS];  /* (layers of the slot,), in `tensors`; NULL: the config has no such tensor */
    q3t_tensor *tensors;                  /* owned */
} q3t_weights;

/* Returns Q3T_E_CONFIG unless every dimension is in range and the rows and columns of every matrix fit in int32. */
q3t_status q3t_config_check(const q3t_config *config);
/* As q3t_config_check, for the fields that the codec's decoder reads. */
q3t_status q3t_codec_config_check(const q3t_config *config);
/* Samples (24 kHz) in one frame of the codec. */
int32_t q3t_frame_samples(const q3t_config *config);
/* Check the tensors (count,) and copy their descriptors; the data stays the caller's. Returns Q3T_E_SHAPE unless every tensor of
 * the config is present once, with its exact shape and a dtype that its slot allows; or Q3T_E_MEMORY. Close the weights with
 * q3t_weights_close. */
q3t_status q3t_weights_open(const q3t_config *config, const q3t_tensor *tensors, size_t count, q3t_weights *weights);
/* As q3t_weights_open, for the slots of the language models only: those before Q3T_W_FIRST_SUM. */
q3t_status q3t_lm_weights_open(const q3t_config *config, const q3t_tensor *tensors, size_t count, q3t_weights *weights);
/* As q3t_weights_open, for the slots of the codec's decoder only: Q3T_W_FIRST_SUM .. Q3T_W_SLOTS - 1. */
q3t_status q3t_codec_weights_open(const q3t_config *config, const q3t_tensor *tensors, size_t count, q3t_weights *weights);
void q3t_weights_close(q3t_weights *weights);

/* The tensor of a slot that the config has; 0 <= layer < layers of the slot. */
static inline const q3t_tensor *q3t_weight(const q3t_weights *w, q3t_slot slot, int32_t layer) { return w->slot[slot] + layer; }
/* Element i of a tensor, F32 or BF16, as float. */
float q3t_tensor_at(const q3t_tensor *t, size_t i);
/* Copy elements [first, first + n) of a tensor, F32 or BF16, to out as floats. */
void q3t_tensor_widen(const q3t_tensor *t, size_t first, size_t n, float *out);
#endif
