/* base/status.h - Q3T_TRY: make a call that returns a q3t_status; if it fails, return its status from the current function. */
#ifndef Q3T_STATUS_H
#define Q3T_STATUS_H
#include "q3t.h"

#define Q3T_TRY(call) do { q3t_status q3t_try_ = (call); if (q3t_try_ != Q3T_OK) return q3t_try_; } while (0)
#endif
