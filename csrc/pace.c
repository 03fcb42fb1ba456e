#include "pace.h"
#if defined(_WIN32)
#include <windows.h>
#else
#include <time.h>
#endif

#define MILLISECOND INT64_C(1000000)
#define SHORT_ROUND (5 * MILLISECOND)
#define LONG_ROUND (15 * MILLISECOND)
#define PAUSE (20 * MILLISECOND)
/* Where an answer takes long (other threads of Python hold the interpreter) fewer are asked for. */
#define SLOW_ANSWER (1 * MILLISECOND)
#define LONG_PAUSE (50 * MILLISECOND)

enum {
    FIRST_ROUND = 1 << 21, /* elements: a few milliseconds; forty for the slowest kernels */
    LEAST_ROUND = 1 << 16
};

#if defined(_WIN32)
static int64_t now(void)
{
    const int64_t second = 1000 * MILLISECOND;
    LARGE_INTEGER count, rate;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&rate);
    return count.QuadPart / rate.QuadPart * second +
           count.QuadPart % rate.QuadPart * second / rate.QuadPart;
}
#else
/* That it may be set while we compute costs a question too many, or one that comes late once. */
static int64_t now(void)
{
    struct timespec time;
    timespec_get(&time, TIME_UTC);
    return (int64_t)time.tv_sec * 1000 * MILLISECOND + time.tv_nsec;
}
#endif

static int64_t between(int64_t earlier, int64_t later)
{
    return later < earlier ? LONG_PAUSE : later - earlier;
}

void fs_pace_begin(fs_pace *pace, const fs_call *call)
{
    const fs_pace begun = {.ask = call->ask, .context = call->ask_context, .pause = PAUSE,
                           .round = FIRST_ROUND};
    *pace = begun;
    if (pace->ask)
        pace->asked_at = pace->looked_at = now();
}

void fs_pace_change(fs_pace *pace)
{
    if (pace->round > FIRST_ROUND)
        pace->round = FIRST_ROUND;
}

int64_t fs_pace_round(const fs_pace *pace) { return pace->ask ? pace->round : INT64_MAX; }

static void ask(fs_pace *pace)
{
    const int64_t asked_at = pace->looked_at;
    pace->stopped = pace->ask(pace->context);
    pace->asked_at = pace->looked_at = now();
    pace->pause = between(asked_at, pace->asked_at) > SLOW_ANSWER ? LONG_PAUSE : PAUSE;
}

int fs_pace_stops(fs_pace *pace, int64_t elements)
{
    if (!pace->ask || pace->stopped)
        return pace->stopped;
    pace->done += elements;
    if (pace->done < pace->round)
        return 0;
    const int64_t time = now(), taken = between(pace->looked_at, time);
    pace->done = 0;
    pace->looked_at = time;
    if (taken < SHORT_ROUND)
        pace->round *= 2;
    else if (taken > LONG_ROUND && pace->round > LEAST_ROUND)
        pace->round /= 2;
    if (between(pace->asked_at, time) >= pace->pause)
        ask(pace);
    return pace->stopped;
}
