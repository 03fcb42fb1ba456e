/* What becomes of each row's loss: weighed, then summed exactly or stored. */
#ifndef FS_LOSSES_H
#define FS_LOSSES_H
#include "plan.h"
#include "targets.h"

/* A tile's values (logsumexp, unreduced losses) into their array. */
void fs_take_values(const fs_plan *p, const fs_rows *rows, const int64_t *offsets);

/* A tile's losses: stored, or added to the sums of their chunks. row: the tile's first. */
void fs_take_losses(fs_plan *p, int64_t row, const fs_rows *rows,
                    const fs_sample_factors *factors, const int64_t *offsets);

/* The sums of the chunks to the reduced loss. */
void fs_finish_loss(fs_call *call, const fs_plan *p, const fs_target_sums *targets);

#endif
