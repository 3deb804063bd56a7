/* base/status.c - the English text of each q3t_status. */
#include "base/status.h"

const char *q3t_status_text(q3t_status status) {
    static const char *const text[] = {
        [Q3T_OK] = "ok",
        [Q3T_E_ARGUMENT] = "an argument is missing or out of range",
        [Q3T_E_CONFIG] = "a dimension of the model is out of range",
        [Q3T_E_SHAPE] = "a tensor is missing or has another shape than the config says",
        [Q3T_E_SIZE] = "a size is too large for this machine",
        [Q3T_E_MEMORY] = "out of memory",
        [Q3T_E_THREAD] = "a thread could not be started",
        [Q3T_E_TALKER_NONFINITE] = "the talker's logits are not finite",
        [Q3T_E_PREDICTOR_NONFINITE] = "the code predictor's logits are not finite",
        [Q3T_E_CODEC_NONFINITE] = "the speech decoder's samples are not finite",
        [Q3T_E_ENCODER_NONFINITE] = "the output of the encoder is not finite",
        [Q3T_E_STOPPED] = "stopped by another thread",
        [Q3T_E_CACHE_ROOM] = "the KV cache has no room for the next position",
    };
    if ((unsigned)status >= sizeof text / sizeof *text) return "unknown status";
    return text[status];
}
