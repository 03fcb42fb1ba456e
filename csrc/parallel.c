#include "parallel.h"
#include "fastsoftmax.h"
#include "lock.h"
#include "portable.h"

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#define FS_HAVE_FORK 1
#endif

/* Precedence: the call's own number, the context manager's (a thread's own), fs_threads_set, then
 * the runtime's current maximum, which OMP_NUM_THREADS and threadpoolctl set; without
 * OMP_NUM_THREADS no more than affinity and cgroup allow. */
static int wanted_by_all = 0;
static int allowed_here = 1;
static int omp_was_told = 0;
static FS_THREAD_LOCAL int wanted_by_thread = 0;
static int forked = 0;

#ifdef FS_HAVE_FORK
/* libgomp's pool does not survive fork: its next parallel region would wait for ever. */
static void after_fork_in_child(void) { forked = 1; }
#endif

void fs_threads_init(int allowed, int follow_omp)
{
    allowed_here = allowed > 0 ? allowed : 1;
    omp_was_told = follow_omp;
#ifdef FS_HAVE_FORK
    static int registered = 0;
    if (!registered)
        pthread_atfork(0, 0, after_fork_in_child);
    registered = 1;
#endif
}

void fs_threads_set(int threads) { wanted_by_all = threads; }

int fs_threads_swap(int threads)
{
    const int old = wanted_by_thread;
    wanted_by_thread = threads;
    return old;
}

static int runtime_maximum(void)
{
#ifdef _OPENMP
    const int maximum = omp_get_max_threads();
    return omp_was_told || maximum < allowed_here ? maximum : allowed_here;
#else
    return 1;
#endif
}

/* What the caller, the context manager or the setting says, or 0. */
static int wanted(int asked)
{
    return asked > 0 ? asked : wanted_by_thread > 0 ? wanted_by_thread : wanted_by_all;
}

int fs_threads_resolve(int asked)
{
    const int number = wanted(asked);
    return number > 0 ? number : runtime_maximum();
}

int fs_openmp_version(void)
{
#ifdef _OPENMP
    return _OPENMP;
#else
    return 0;
#endif
}

/* A round: of each thread's share the units from `begin` on, `step` of them at most. */
typedef struct {
    const fs_work *work;
    fs_task *task;
    void *context;
    int threads;
    int64_t begin, step;
} fs_round;

/* Where a thread's share begins: it keeps its share through all rounds, and so its part of
 * memory. */
static int64_t share_begin(const fs_work *work, int thread, int threads)
{
    const int64_t grains = (work->units + work->grain - 1) / work->grain;
    const int64_t unit = grains * thread / threads * work->grain;
    return unit < work->units ? unit : work->units;
}

static void run_share(const fs_round *round, int thread)
{
    const int64_t first = share_begin(round->work, thread, round->threads) + round->begin;
    const int64_t end = share_begin(round->work, thread + 1, round->threads);
    if (first < end)
        round->task(round->context, thread, first,
                    end - first > round->step ? first + round->step : end);
}

#ifdef _OPENMP
/* Threads of Python that call at the same time share the processors, each time anew, unless someone
 * has said how many threads a call is to have. */
static fs_lock lock = FS_LOCK_INIT;
static int calls_now = 0;

static int count_calls(int change)
{
    fs_lock_take(&lock);
    const int calls = calls_now += change;
    fs_lock_leave(&lock);
    return calls;
}

static int team_of(const fs_round *round, int calls)
{
    if (calls == 1 || omp_was_told || wanted(round->work->asked) > 0)
        return round->threads;
    const int fair = runtime_maximum() / calls;
    return fair < 1 ? 1 : fair < round->threads ? fair : round->threads;
}

static void run_team(const fs_round *round, int team)
{
#pragma omp parallel num_threads(team)
    {
        /* the runtime may grant fewer threads than asked for: each then takes several shares */
        for (int i = omp_get_thread_num(); i < round->threads; i += omp_get_num_threads())
            run_share(round, i);
    }
}
#endif

static void run_round(const fs_round *round)
{
#ifdef _OPENMP
    if (round->threads > 1 && !forked && !omp_in_parallel()) {
        run_team(round, team_of(round, count_calls(1)));
        count_calls(-1);
        return;
    }
#else
    (void)forked;
#endif
    for (int i = 0; i < round->threads; i++)
        run_share(round, i);
}

int fs_parallel(fs_pace *pace, int threads, const fs_work *work, fs_task *task, void *context)
{
    fs_round round = {work, task, context, threads, 0, 0};
    const int64_t grains = (work->units + work->grain - 1) / work->grain;
    const int64_t longest = (grains + threads - 1) / threads * work->grain;
    if (fs_pace_stops(pace, 0))
        return 0;
    fs_pace_change(pace);
    for (; round.begin < longest; round.begin += round.step) {
        const int64_t left = longest - round.begin, step = fs_pace_round(pace) / work->elements;
        round.step = step < 1 ? 1 : step < left ? step : left;
        run_round(&round);
        if (fs_pace_stops(pace, round.step * work->elements))
            return 0;
    }
    return 1;
}
