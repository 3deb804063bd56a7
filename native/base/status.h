/* base/status.h - errors are return values; Q3T_TRY returns them to the caller. */
#ifndef Q3T_STATUS_H
#define Q3T_STATUS_H
#include "q3t.h"

#define Q3T_TRY(call) do { q3t_status q3t_try_ = (call); if (q3t_try_ != Q3T_OK) return q3t_try_; } while (0)
#endif
