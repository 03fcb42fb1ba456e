/* Threads: how many a call gets, and running a function on them. The only file that knows OpenMP. */
#ifndef FS_PARALLEL_H
#define FS_PARALLEL_H

typedef void fs_task(void *context, int thread, int threads);

/* Runs task(context, i, threads) for each i below threads; on the calling thread where threads is
 * one, in a child forked after threads were used, or without OpenMP. task must not assume that the
 * calls run at the same time. */
void fs_parallel(int threads, fs_task *task, void *context);

#endif
