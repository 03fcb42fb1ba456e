/* A long call asks now and then whether it is to go on: someone may have pressed Ctrl-C.
 *
 * It asks on the calling thread, between rounds of its work, while no other thread computes:
 * whoever is asked may compute, fork, or not come back soon. Nobody is asked within the first
 * milliseconds of a call. */
#ifndef FS_PACE_H
#define FS_PACE_H
#include "fastsoftmax.h"

typedef struct {
    fs_ask *ask; /* 0: nobody is asked */
    void *context;
    int64_t asked_at, looked_at; /* times, in nanoseconds */
    int64_t pause;               /* between two questions */
    int64_t round;               /* elements of a thread's work between two looks at the clock */
    int64_t done;                /* elements since the last look */
    int stopped;
} fs_pace;

void fs_pace_begin(fs_pace *pace, const fs_call *call);

/* Work of another kind follows, maybe slower than the last. */
void fs_pace_change(fs_pace *pace);

/* Elements of work that each thread may do before fs_pace_stops() is called again. */
int64_t fs_pace_round(const fs_pace *pace);

/* After so many elements of work: whether the call is to end. Once it is, it stays so. */
int fs_pace_stops(fs_pace *pace, int64_t elements);

#endif
