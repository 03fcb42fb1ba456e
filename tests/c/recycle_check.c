/* csrc/recycle.c in many threads at once, for tools/check_recycle.sh, which runs it under
 * sanitizers: blocks are filled, handed to other threads, grown, shrunk and freed there, while others
 * release and fork. Each block must still hold what its owner wrote. */
#define _DEFAULT_SOURCE /* fork under -std=c11 */
#include "pages.h"
#include "recycle.h"
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 6, SLOTS = 12, STEP = 4096 };
static const size_t limit = (size_t)24 << 20;
static int rounds = 0;

/* Where blocks are handed from one thread to another. */
static struct {
    unsigned char *data;
    size_t size;
    unsigned char mark;
} slots[SLOTS];
static pthread_mutex_t hands = PTHREAD_MUTEX_INITIALIZER;

static void must(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "recycle_check: %s\n", what);
        _exit(1);
    }
}

static void fill(unsigned char *data, size_t from, size_t size, unsigned char mark)
{
    for (size_t i = from; i < size; i += STEP)
        data[i] = mark;
    if (size)
        data[size - 1] = mark;
}

static int holds(const unsigned char *data, size_t size, unsigned char mark)
{
    for (size_t i = 0; i < size; i += STEP)
        if (data[i] != mark)
            return 0;
    return 1;
}

static size_t some_size(unsigned *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return ((size_t)(*seed >> 20) << 11) + 1; /* up to 8 MiB */
}

static void exchange(unsigned *seed, unsigned char mark)
{
    const size_t size = some_size(seed);
    unsigned char *data = *seed & 256 ? fs_recycle_malloc(0, size) : fs_recycle_calloc(0, 1, size);
    must(data != 0, "no memory");
    must((uintptr_t)data % 64 == 0, "not on a cache line");
    must(*seed & 256 || holds(data, size, 0), "calloc's memory is not zero");
    fill(data, 0, size, mark);
    const int slot = (int)(*seed >> 8) % SLOTS;
    pthread_mutex_lock(&hands);
    unsigned char *other = slots[slot].data, other_mark = slots[slot].mark;
    size_t other_size = slots[slot].size;
    slots[slot].data = data, slots[slot].size = size, slots[slot].mark = mark;
    pthread_mutex_unlock(&hands);
    if (!other)
        return;
    must(holds(other, other_size, other_mark), "a block was written by another's owner");
    const size_t new_size = some_size(seed);
    other = fs_recycle_realloc(0, other, new_size);
    must(other != 0, "no memory to grow");
    must(holds(other, new_size < other_size ? new_size : other_size, other_mark), "lost in realloc");
    fill(other, 0, new_size, mark);
    fs_recycle_free(0, other, 1); /* the size is not looked at */
}

static void *work(void *argument)
{
    unsigned seed = (unsigned)(uintptr_t)argument;
    for (int round = 0; round < rounds; round++) {
        exchange(&seed, (unsigned char)((uintptr_t)argument * 31 + (unsigned)round % 7 + 1));
        must(fs_recycle_idle() <= limit, "more is kept than allowed");
        if (round % 97 == 0)
            fs_recycle_release();
    }
    return 0;
}

/* In a child: what was kept and what was alive is not kept again; what it makes itself is. */
static void in_a_child(void)
{
    void *mine = fs_recycle_malloc(0, FS_RECYCLE_LEAST);
    must(mine != 0, "no memory in a child");
    memset(mine, 1, FS_RECYCLE_LEAST);
    fs_recycle_free(0, mine, 0);
    must(fs_recycle_malloc(0, FS_RECYCLE_LEAST) == mine, "a child does not recycle");
    for (int i = 0; i < SLOTS; i++)
        fs_recycle_free(0, slots[i].data, 0);
    must(fs_recycle_idle() == 0, "a child keeps what is its parent's");
    _exit(0);
}

int main(int count, char **arguments)
{
    must(count == 3, "ROUNDS FORKS");
    rounds = atoi(arguments[1]);
    const int forks = atoi(arguments[2]); /* TSan does not fork with threads */
    pthread_t threads[THREADS];
    fs_recycle_init();
    fs_recycle_set_limit(limit);
    for (uintptr_t i = 0; i < THREADS; i++)
        must(pthread_create(&threads[i], 0, work, (void *)(i + 1)) == 0, "no thread");
    for (int i = 0; i < forks; i++) {
        int status = 0;
        pthread_mutex_lock(&hands); /* the slots are whole in the child */
        const pid_t child = fork();
        if (child == 0)
            in_a_child();
        pthread_mutex_unlock(&hands);
        must(child > 0 && waitpid(child, &status, 0) == child && status == 0, "a child failed");
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], 0);
    for (int i = 0; i < SLOTS; i++) {
        must(!slots[i].data || holds(slots[i].data, slots[i].size, slots[i].mark), "lost");
        fs_recycle_free(0, slots[i].data, 0);
    }
    const size_t idle = fs_recycle_idle();
    must(idle > 0 && fs_recycle_release() == idle && fs_recycle_idle() == 0, "not given back");
    must(fs_recycle_malloc(0, SIZE_MAX - 10) == 0 && fs_recycle_calloc(0, SIZE_MAX, 2) == 0,
         "more than there is");
    return 0;
}
