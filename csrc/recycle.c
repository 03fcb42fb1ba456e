#include "recycle.h"
#include "lock.h"
#include "pages.h"
#include <stdint.h>
#include <string.h>

#define MOST_BLOCKS 1024 /* kept: a search costs half a microsecond at most */
#define WASTE 8          /* a block may be larger than what it serves by an eighth of that */

/* Lies in front of the data. */
typedef struct block {
    struct block *next;  /* while it is on the way back to the system */
    unsigned generation; /* of the process that took it */
    fs_pages pages;
} block;
_Static_assert(sizeof(block) <= FS_PAGES_HEAD, "a block lies in the head");

typedef struct {
    size_t capacity;
    block *block;
} entry;

static fs_lock lock = FS_LOCK_INIT; /* held for what follows, never while the system is asked */
static entry kept[MOST_BLOCKS];     /* oldest first */
static int count = 0;
static int inherited = 0; /* of these, the oldest, from before a fork: only to be given back */
static size_t idle = 0;   /* their bytes */
static size_t limit = 0;
static unsigned generation = 0; /* forks between the first process and this one */

static block *block_of(void *data) { return (block *)data - 1; }

/* The smallest block that fits, of equals the newest, whose caches are warm; 0 if none does. */
static block *take_fitting(size_t size)
{
    int best = -1;
    for (int i = count - 1; i >= inherited; i--) {
        const size_t capacity = kept[i].capacity;
        if (capacity >= size && capacity - size <= size / WASTE &&
            (best < 0 || capacity < kept[best].capacity))
            best = i;
    }
    if (best < 0)
        return 0;
    block *found = kept[best].block;
    idle -= kept[best].capacity;
    memmove(kept + best, kept + best + 1, (size_t)(--count - best) * sizeof *kept);
    return found;
}

/* Makes room for another block, of at most the limit, by taking out the oldest; returns these. */
static block *make_room(size_t size)
{
    block *list = 0;
    int gone = 0;
    while (gone < count &&
           (gone < inherited || idle > limit - size || count - gone == MOST_BLOCKS)) {
        kept[gone].block->next = list;
        list = kept[gone].block;
        idle -= kept[gone++].capacity;
    }
    memmove(kept, kept + gone, (size_t)(count - gone) * sizeof *kept);
    count -= gone;
    inherited = 0;
    return list;
}

static size_t give_back(block *list)
{
    size_t bytes = 0;
    while (list) {
        const fs_pages pages = list->pages; /* the block goes with its pages */
        list = list->next;
        bytes += pages.capacity;
        fs_pages_give_back(&pages);
    }
    return bytes;
}

static block *take_fresh(size_t size)
{
    fs_pages pages;
    if (!fs_pages_take(&pages, size) &&
        (fs_recycle_release() == 0 || !fs_pages_take(&pages, size)))
        return 0;
    block *fresh = block_of(pages.data);
    fresh->pages = pages;
    fresh->generation = generation; /* changes only while there is one thread */
    return fresh;
}

int fs_recycle_wants(size_t size)
{
    return size >= FS_RECYCLE_LEAST && size <= fs_recycle_limit();
}

void *fs_recycle_malloc(void *context, size_t size)
{
    (void)context;
    fs_lock_take(&lock);
    block *found = take_fitting(size);
    fs_lock_leave(&lock);
    if (!found)
        found = take_fresh(size);
    return found ? found->pages.data : 0;
}

void *fs_recycle_calloc(void *context, size_t items, size_t size)
{
    if (size != 0 && items > SIZE_MAX / size)
        return 0;
    void *data = fs_recycle_malloc(context, items * size);
    return data ? memset(data, 0, items * size) : 0;
}

void *fs_recycle_realloc(void *context, void *data, size_t size)
{
    if (!data)
        return fs_recycle_malloc(context, size);
    const size_t capacity = block_of(data)->pages.capacity;
    if (size <= capacity && size >= capacity / 2)
        return data;
    void *moved = fs_recycle_malloc(context, size);
    if (moved) {
        memcpy(moved, data, size < capacity ? size : capacity);
        fs_recycle_free(context, data, capacity);
    }
    return moved;
}

void fs_recycle_free(void *context, void *data, size_t size)
{
    (void)context, (void)size;
    if (!data)
        return;
    block *freed = block_of(data), *rest = freed;
    const size_t capacity = freed->pages.capacity;
    freed->next = 0;
    fs_lock_take(&lock);
    if (freed->generation == generation && capacity >= FS_RECYCLE_LEAST && capacity <= limit) {
        rest = make_room(capacity);
        kept[count].capacity = capacity;
        kept[count++].block = freed;
        idle += capacity;
    }
    fs_lock_leave(&lock);
    give_back(rest);
}

void fs_recycle_set_limit(size_t bytes)
{
    fs_lock_take(&lock);
    limit = bytes;
    block *rest = make_room(0);
    fs_lock_leave(&lock);
    give_back(rest);
}

size_t fs_recycle_limit(void)
{
    fs_lock_take(&lock);
    const size_t bytes = limit;
    fs_lock_leave(&lock);
    return bytes;
}

size_t fs_recycle_idle(void)
{
    fs_lock_take(&lock);
    const size_t bytes = idle;
    fs_lock_leave(&lock);
    return bytes;
}

size_t fs_recycle_release(void)
{
    fs_lock_take(&lock);
    inherited = count;
    block *all = make_room(0);
    fs_lock_leave(&lock);
    return give_back(all);
}

#if defined(__unix__) || defined(__APPLE__)
/* The child begins with the lock in the hands of its only thread, whatever others were doing. */
static void before_fork(void) { fs_lock_take(&lock); }
static void after_fork(void) { fs_lock_leave(&lock); }
static void after_fork_in_child(void)
{
    generation++;
    inherited = count;
    fs_lock_leave(&lock);
}
#endif

void fs_recycle_init(void)
{
#if defined(__unix__) || defined(__APPLE__)
    static int registered = 0;
    if (!registered)
        pthread_atfork(before_fork, after_fork, after_fork_in_child);
    registered = 1;
#endif
}
