/* speech/forward.h - the talker's part of a step: which columns the forward passes of a step have. */
#ifndef Q3T_FORWARD_H
#define Q3T_FORWARD_H
#include "speech/session.h"

/* Run the talker for n <= Q3T_COLUMNS different sessions of the model: the next position of each that generates, and prompt rows.
 * *rows: in and out, the budget: the number of prompt rows that may be taken in. A session whose logits are those of its next frame
 * then has the stage Q3T_STAGE_FRAME. */
void q3t_step_forward(q3t_model *model, q3t_session *const *sessions, int32_t n, int32_t *rows);
#endif
