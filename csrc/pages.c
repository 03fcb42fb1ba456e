#define _DEFAULT_SOURCE /* for MAP_ANONYMOUS and madvise under -std=c11 */
#include "pages.h"
#include <stdlib.h>

static int huge = 1;
void fs_pages_huge(int wanted) { huge = wanted; }

static char *align_up(char *address, size_t to)
{
    return address + (to - (uintptr_t)address % to) % to;
}

#if (defined(__unix__) || defined(__APPLE__)) && !defined(FS_NO_MMAP)
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define HUGE_PAGE ((size_t)2 << 20)
#define HUGE_FROM ((size_t)4 << 20) /* as NumPy has it */

static void unmap(char *from, const char *to)
{
    if (to > from)
        munmap(from, (size_t)(to - from));
}

/* A page in front of the data has the head. A large piece is asked for with room to begin on a huge
 * page; what is left of that goes back at once. */
int fs_pages_take(fs_pages *p, size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (size > SIZE_MAX / 2)
        return 0;
    p->capacity = (size + page - 1) / page * page;
    const size_t alignment = p->capacity >= HUGE_FROM ? HUGE_PAGE : page;
    const size_t bytes = p->capacity + alignment;
    char *base = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return 0;
    p->data = align_up(base + page, alignment);
    p->base = p->data - page;
    p->bytes = page + p->capacity;
    unmap(base, p->base);
    unmap(p->data + p->capacity, base + bytes);
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (huge && alignment == HUGE_PAGE)
        madvise(p->data, p->capacity, MADV_HUGEPAGE); /* a hint: without it, small pages */
#endif
    return 1;
}

void fs_pages_give_back(const fs_pages *p) { munmap(p->base, p->bytes); }

uint64_t fs_pages_installed(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    uint64_t bytes = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
#if defined(RLIMIT_AS)
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        (bytes == 0 || limit.rlim_cur < bytes))
        bytes = limit.rlim_cur;
#endif
    return bytes;
}

#else /* Windows' malloc hands large pieces to the system, and back, by itself */
#if defined(_WIN32)
#include <windows.h>
#endif

int fs_pages_take(fs_pages *p, size_t size)
{
    if (size > SIZE_MAX / 2)
        return 0;
    p->capacity = size;
    p->bytes = size + 2 * FS_PAGES_HEAD;
    p->base = malloc(p->bytes);
    if (!p->base)
        return 0;
    p->data = align_up((char *)p->base + FS_PAGES_HEAD, FS_PAGES_HEAD);
    (void)huge;
    return 1;
}

void fs_pages_give_back(const fs_pages *p) { free(p->base); }

uint64_t fs_pages_installed(void)
{
#if defined(_WIN32)
    MEMORYSTATUSEX status;
    status.dwLength = sizeof status;
    return GlobalMemoryStatusEx(&status) ? status.ullTotalPhys : 0;
#else
    return 0;
#endif
}
#endif
