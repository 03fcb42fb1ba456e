/* Arrays with a page that cannot be touched directly before or directly after them. */
#ifndef FS_TEST_GUARDED_H
#define FS_TEST_GUARDED_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MARGIN = 256, CANARY = 0xA5 };

typedef enum { AT_START, AT_END, PLACES } place;

/* Pages of which the first and the last are closed. */
typedef struct {
    char *open;
    size_t bytes;
    char *data; /* of the array that lies here now */
    size_t used;
} arena;

static arena arena_new(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    arena a = {0, (bytes + MARGIN + page - 1) / page * page, 0, 0};
    char *all = mmap(0, a.bytes + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all, page, PROT_NONE) ||
        mprotect(all + page + a.bytes, page, PROT_NONE)) {
        perror("guard pages");
        exit(2);
    }
    a.open = all + page;
    return a;
}

/* An array directly behind the first closed page, or directly before the last. */
static char *arena_take(arena *a, place where, size_t bytes)
{
    if (bytes + MARGIN > a->bytes) {
        fprintf(stderr, "an arena of %zu bytes is too small for %zu\n", a->bytes, bytes);
        exit(2);
    }
    a->used = bytes;
    a->data = where == AT_START ? a->open : a->open + a->bytes - bytes;
    memset(where == AT_START ? a->data + bytes : a->data - MARGIN, CANARY, MARGIN);
    return a->data;
}

static int all_canaries(const char *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)from[i] != CANARY)
            return 0;
    return 1;
}

/* Whether the bytes on the side without a closed page are as they were. */
static int margin_is_whole(const arena *a)
{
    return all_canaries(a->data == a->open ? a->data + a->used : a->data - MARGIN, MARGIN);
}

#endif
