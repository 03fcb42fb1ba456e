/* A row in pieces, on all threads (kernels/rows.h: fs_pieces). Strides in bytes. */
#ifndef FS_PIECES_H
#define FS_PIECES_H
#include "plan.h"

/* fs_pieces.each, of a plan. */
int fs_each_piece(void *plan, fs_piece_task *task, const void *job);

/* Steps of the driver's own: the row copied to lie contiguous, and back; multiplied where it
 * lies. */
void fs_pieces_gather(fs_plan *p, char *to, const char *from, int64_t from_class);
void fs_pieces_scatter(fs_plan *p, char *to, const char *from, int64_t to_class);
void fs_pieces_multiply(fs_plan *p, char *y, int64_t y_class, const double *power);

#endif
