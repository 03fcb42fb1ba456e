/* Threads: how many a call gets, and running a function on them. The only file that knows
 * OpenMP. */
#ifndef FS_PARALLEL_H
#define FS_PARALLEL_H
#include "pace.h"

/* Units of work, in grains that one thread does, of so many elements each. */
typedef struct {
    int64_t units, grain, elements;
    int asked; /* threads that the caller named; 0: none, and calls at the same time share */
} fs_work;

/* Units first to last, as the thread of that number. */
typedef void fs_task(void *context, int thread, int64_t first, int64_t last);

/* Has all units done once, those of each thread in order; on the calling thread where threads is
 * one, in a forked child, or without OpenMP. task must not assume that its calls run at the same
 * time. The work is done in rounds, as the pace says; 0 if it says that the call is to end. */
int fs_parallel(fs_pace *pace, int threads, const fs_work *work, fs_task *task, void *context);

#endif
